"""Errors a user can meet: each is one line, and carries the exit code of the command."""

from __future__ import annotations


class LedlocalError(Exception):
    """Shown to the user as one line, without a traceback. Exit code 1: the work failed."""

    exit_code = 1


class BadInput(LedlocalError):
    """A file, flag, template or request is wrong; the message names it and says why. Exit code 2."""

    exit_code = 2


class PromptTooLong(BadInput):
    """A prompt that the context cannot hold; others may fit. Exit code 2."""


class EngineDied(LedlocalError):
    """The worker process ended without being asked to. Exit code 3."""

    exit_code = 3


class OutOfResources(LedlocalError):
    """Memory, disk or time ran out; the message says what would fit. Exit code 4."""

    exit_code = 4


class TapRefused(LedlocalError):
    """This model or library cannot show its layers; the message says why. Plain sampling still works. Exit code 2."""

    exit_code = 2


ERRORS = {error.__name__: error for error in (BadInput, PromptTooLong, EngineDied, OutOfResources, TapRefused)}
"""By name: what one process tells another is raised there."""
INTERRUPTED = 130
"""Exit code after Ctrl-C (128 + SIGINT)."""
NOBODY_READS = 141
"""Exit code after the reader of the output has left (128 + SIGPIPE), as in `... | head`."""
