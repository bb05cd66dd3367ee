"""How much is looked into the layers, and how fast tokens come with it and without."""

from __future__ import annotations

from dataclasses import dataclass

from ledlocal.values.params import Detail

ENOUGH = 20, 0.5
"""Tokens and seconds from which on a speed is one."""


@dataclass(slots=True)
class Speed:
    """Tokens in their time."""

    tokens: int = 0
    seconds: float = 0.0
    exact: bool = False
    """Of a whole reply, by the engine's clock: short ones are enough, too."""

    @property
    def per_second(self) -> float | None:
        """None as long as they are too few to tell."""
        enough = self.tokens >= ENOUGH[0] and self.seconds >= (0.0 if self.exact else ENOUGH[1])
        return self.tokens / self.seconds if enough and self.seconds else None


class Watch:
    """Whether every layer is looked into; both ways are measured, each since it was last begun. They are compared where
    both are of one reply, or of two that follow each other."""

    def __init__(self) -> None:
        self.every_layer = False
        """At every thinking token, explored or not."""
        self._speeds = {False: Speed(), True: Speed()}
        self._measured = False
        """Which way the last tokens came."""
        self._mixed = False
        """The reply came both ways."""
        self._at: float | None = None
        """When the last tokens came; None: those that come next may be of both ways."""

    def detail(self, least: Detail) -> Detail:
        """What is asked for, where `least` is wanted anyhow."""
        return "all" if self.every_layer else least

    def begin(self) -> None:
        """A reply begins."""
        if self.every_layer == self._measured:
            self._speeds[not self.every_layer] = Speed()
        self.switch()
        self._mixed = False

    def switch(self) -> None:
        """Tokens come another way from now on."""
        self._at, self._mixed = None, True
        self._speeds[self.every_layer] = Speed()

    def add(self, tokens: int, at: float) -> None:
        """So many tokens that can be looked into came until `at`, in seconds; 0: others did."""
        self._measured = self.every_layer
        if tokens and self._at is not None:
            speed = self._speeds[self._measured]
            speed.tokens, speed.seconds = speed.tokens + tokens, speed.seconds + at - self._at
        self._at = at if tokens else None

    def end(self, tokens: int, seconds: float) -> None:
        """A reply has ended that had so many tokens in that time, by the engine's clock."""
        if not self._mixed:
            self._speeds[self._measured] = Speed(tokens, seconds, exact=True)

    @property
    def cost(self) -> str:
        """Both speeds in words; empty where there are not two."""
        slow, fast = self._speeds[True].per_second, self._speeds[False].per_second
        return "" if slow is None or fast is None else f"all {slow:.1f} · forks {fast:.1f} tokens/s"
