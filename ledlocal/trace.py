"""Traces: one JSON line per generated token, written, read back, and printed as a table."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ledlocal.safe_text import safe_text
from ledlocal.terminal import CHANGED, DIM, SAME, Screen
from ledlocal.text_file import open_regular
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.events import Candidates, Token


def to_record(token: Token) -> dict[str, Any]:
    """The JSON object of a token.

    `posteriors` is d x k, or null if the token was not projected; `final` always holds the final layer's row. `entropy`
    has d places, null where nothing was projected. A token without candidates has null in all of them.
    """
    record: dict[str, Any] = {
        "i": token.i, "id": token.id, "text": token.text, "phase": token.phase, "confidence": token.confidence,
        "candidates": None, "texts": None, "layers": None, "final": None, "posteriors": None, "entropy": None,
        "depth": token.depth, "explored": token.explored, "changed": token.changed, "u": token.u,
        "marker": token.marker, "forced": token.forced, "final_entropy": token.entropy,
    }
    if c := token.candidates:
        record |= {
            "candidates": c.ids, "texts": c.texts, "layers": c.layers, "final": c.posteriors[0],
            "posteriors": c.posteriors if len(c.posteriors) > 1 else None,
            "entropy": [*c.entropy, *[None] * (len(c.layers) - len(c.entropy))],
        }
    return record


def from_record(record: dict[str, Any]) -> Token:
    """The token of a JSON object. Raises KeyError, TypeError or ValueError if it is not one of ours."""
    candidates = None
    if record["candidates"] is not None:
        candidates = Candidates(
            ids=tuple(int(x) for x in record["candidates"]),
            texts=tuple(str(x) for x in record["texts"]),
            layers=tuple(int(x) for x in record["layers"]),
            posteriors=tuple(tuple(_finite(p) for p in row) for row in record["posteriors"] or [record["final"]]),
            entropy=tuple(_finite(x) for x in record["entropy"] if x is not None),
        )
        if not candidates.ids:
            raise ValueError("no candidate is among the candidates")
        if not len(candidates.layers) >= len(candidates.posteriors) == len(candidates.entropy):
            raise ValueError("layers, posteriors and entropy differ in length")
        if {len(row) for row in candidates.posteriors} | {len(candidates.texts)} != {len(candidates.ids)}:
            raise ValueError("candidates, texts and posteriors differ in length")
    phase = record["phase"]
    if phase not in ("thinking", "answer"):
        raise ValueError(f"unknown phase {phase!r}")
    depth = record["depth"]
    coin, draw = record["u"]
    return Token(
        request=0, sample=0, i=int(record["i"]), id=int(record["id"]), text=str(record["text"]), phase=phase,
        marker=bool(record["marker"]), forced=bool(record["forced"]), confidence=_finite(record["confidence"]),
        entropy=_finite(record["final_entropy"]), explored=bool(record["explored"]), changed=bool(record["changed"]),
        depth=None if depth is None else int(depth), u=(_finite(coin), _finite(draw)), candidates=candidates)


def _finite(number: Any) -> float:
    """JSON has no other numbers, but Python's reader takes them."""
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{value} is no finite number")
    return value


LONGEST_LINE = 64 << 20
"""Bytes; a token with all its layers takes some thousands."""


class TraceWriter:
    """A new trace file. Raises BadInput if the file exists already or cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise BadInput(f"{path}: the file exists; a trace overwrites nothing") from None
        except OSError as error:
            raise BadInput(f"{path}: cannot write the trace: {error.strerror}") from None

    def write(self, token: Token) -> None:
        """Append one line, whole or not at all. Raises OutOfResources if it cannot be written."""
        line = json.dumps(to_record(token), ensure_ascii=True, allow_nan=False) + "\n"
        with self._disk():
            written = self._file.write(line.encode("ascii"))
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(line)

    def sync(self) -> None:
        """Bring everything written so far to the disk. Raises OutOfResources."""
        with self._disk():
            os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """What fails leaves whole lines only."""
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise OutOfResources(f"{self._path}: cannot write the trace: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; one without a line is taken back, so that the same command can be tried again."""
        self._file.close()
        if not self._size:
            self._path.unlink(missing_ok=True)


def read_trace(path: Path) -> Iterator[Token]:
    """The tokens of a trace file, one at a time; a torn last line is left out. Raises BadInput naming file and line."""
    number = read = 0
    try:
        with open_regular(path) as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
                if not line.endswith(b"\n"):
                    break  # torn: the command that wrote it was killed
                token = from_record(json.loads(line))
                read += 1
                yield token
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{path}, line {number}: not a trace of ledlocal: {said}") from None
    if read == 0:
        raise BadInput(f"{path}: an empty trace")


def begins_reply(token: Token, before: Token | None) -> bool:
    """Whether another reply begins: a trace of a conversation holds several; one that was continued is one."""
    return before is None or token.i != before.i + 1


def replies_of(tokens: Iterable[Token]) -> list[list[Token]]:
    """The replies of a trace, each from its first token."""
    replies: list[list[Token]] = []
    before = None
    for token in tokens:
        if begins_reply(token, before):
            replies.append([])
        replies[-1].append(token)
        before = token
    return replies


def save_trace(tokens: Iterable[Token], folder: Path) -> Path:
    """A new trace file, named by the time: all of `tokens`, or no file. Raises BadInput, OutOfResources."""
    stem = f"trace-{datetime.now():%Y-%m-%d-%H%M%S}"
    stems = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    path = next(path for each in stems if not os.path.lexists(path := folder / f"{each}.jsonl"))
    writer = TraceWriter(path)
    try:
        for token in tokens:
            writer.write(token)
        writer.sync()
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        writer.close()
    return path


class _Totals:
    """What the summary counts."""

    def __init__(self) -> None:
        self.phases: Counter[str] = Counter()
        self.depths: Counter[int] = Counter()
        self.explored = self.changed = 0
        self.confidence = 0.0

    def add(self, token: Token) -> None:
        self.phases[token.phase] += 1
        self.explored += token.explored
        self.changed += token.changed
        self.confidence += token.confidence
        if token.explored and token.depth is not None:
            self.depths[token.depth] += 1

    def lines(self) -> Iterator[str]:
        yield f"{self.phases['thinking']} thinking + {self.phases['answer']} answer tokens, " \
              f"mean confidence of all tokens {self.confidence / self.phases.total():.3f}"
        yield f"explored {self.explored}, changed {self.changed}"
        if self.depths:
            most = max(self.depths.values())
            yield "depth   explored tokens whose distribution mixes the final layer and that many others"
            for depth in range(max(self.depths) + 1):
                n = self.depths[depth]
                yield f"{depth:5}   {n:6} {'▇' * -(-30 * n // most)}"


def print_trace(path: Path, screen: Screen, layers: bool = False) -> None:
    """The trace as a table and a summary, in plain lines for a terminal or a pager.

    `layers`: under each projected token, what each layer thinks of the candidates.
    """
    same, changed = screen.same or "◦", screen.changed or "•"
    totals = _Totals()
    before = None
    header = f"{'i':>6}  {'token':<18} {'phase':<8}  {'conf':>5}    {'depth':>5}  candidates of the final layer"
    for token in read_trace(path):
        if begins_reply(token, before):
            screen.line(header, DIM)
        before = token
        totals.add(token)
        sign = changed if token.changed else same if token.explored else " "
        shown = "(marker)" if token.marker else _quoted(token.text, 18)
        depth = "" if token.depth is None else str(token.depth)
        row = (f"{token.i:>6}  {shown:<18} {token.phase:<8}  {token.confidence:5.3f}  {sign} "
               f"{depth:>5}  {_candidates(token)}")
        screen.line(row.rstrip(), CHANGED if token.changed else SAME if token.explored else "")
        if layers and token.candidates and len(token.candidates.posteriors) > 1:
            for line in _layers(token.candidates, token.depth, token.explored):
                screen.line(line, DIM)
    screen.line("")
    for line in totals.lines():
        screen.line(line)
    screen.line(f"{same} explored, same token   {changed} explored, another token", DIM)


def _quoted(text: str, width: int) -> str:
    """Foreign text in quotes that show its white space, cut to `width`."""
    shown = safe_text(json.dumps(text, ensure_ascii=False))
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _layers(c: Candidates, depth: int | None, explored: bool) -> Iterator[str]:
    """One line per layer: probabilities of the candidates, and the entropy of the mixture down to it."""
    for i, (layer, row, entropy) in enumerate(zip(c.layers, c.posteriors, c.entropy, strict=True)):
        drawn = "drawn from this mixture" if explored else "but the final layer decided"
        used = f"   largest: {drawn}" if i == depth else ""
        yield f"{'layer':>14} {layer:<4} {' '.join(f'{p:.3f}' for p in row)}   mixture's entropy {entropy:.3f}{used}"


def _candidates(token: Token, most: int = 5) -> str:
    if token.candidates is None:
        return ""
    pairs = zip(token.candidates.texts, token.candidates.posteriors[0], strict=True)
    return "  ".join(f"{_quoted(text, 14)} {p:.3f}" for text, p in list(pairs)[:most])
