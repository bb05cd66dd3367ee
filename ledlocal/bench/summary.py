"""What a benchmark comes to, in words: how fast it is, and what each method costs at one sequence and at many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil

from ledlocal.bench.contender import BACKEND, BARE, EAGER, LED, STANDARD
from ledlocal.bench.rows import LEAST_ROUNDS, NOISY, Row
from ledlocal.statistics.median import MedianEstimate

NO_BREAK = "\N{NO-BREAK SPACE}"
"""Stands where a sentence may not be broken; not to be shown."""


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Sentences about the phase `decode`, at the smallest and the largest batch size, for each tap."""
    decoding = [row for row in rows if row.phase == "decode"]
    for (_, tap), members in groupby(decoding, lambda row: (row.asked, row.tap)):
        group = list(members)
        sizes = {row.batch for row in group}
        ends = sorted((row for row in group if row.batch in (min(sizes), max(sizes))), key=lambda row: row.batch)
        yield f"In short, with tap {tap}:"
        yield from _sentences(ends)


def _sentences(rows: Sequence[Row]) -> Iterator[str]:
    methods = dict.fromkeys(row.method for row in rows)
    speaker = next(name for name in (STANDARD, LED, *methods) if name in methods)
    yield f"{speaker}: " + ", ".join(f"{row.tokens_per_s:,.0f} tokens/s at {_sequences(row.batch)}" for row in rows
                                     if row.method == speaker)
    for method in methods:
        mine = [row for row in rows if row.method == method]
        if method == BARE or (LED in methods and _aside(mine[0])):
            continue
        base = STANDARD if method != STANDARD and STANDARD in methods else BARE
        ratios = [row.ratio_to_standard if base == STANDARD else row.ratio_to_bare for row in mine]
        if verdicts := [_verdict(row, ratio) for row, ratio in zip(mine, ratios, strict=True) if ratio]:
            yield f"{method} beside {base}: {', '.join(verdicts)}"


def _aside(row: Row) -> bool:
    """Where LED's own coin was measured, other coins and samplers are left to the tables."""
    return row.method == BACKEND or (row.forced and row.method != EAGER)


def _verdict(row: Row, ratio: MedianEstimate) -> str:
    explored = "" if row.explore_rate is None or row.forced else f", {100 * row.explore_rate:.1f} % explored"
    numbers = f"({interval(ratio)}{explored})".replace(" ", NO_BREAK)
    return f"{_words(row, ratio)} at {_sequences(row.batch)} {numbers}"


def _words(row: Row, ratio: MedianEstimate) -> str:
    width = ratio.high - ratio.low
    near, far = sorted(100 * abs(bound - 1) for bound in (ratio.low, ratio.high))
    equal, wide = ratio.low <= 1 <= ratio.high, width > NOISY
    if row.rounds < LEAST_ROUNDS:
        return f"too few rounds ({row.rounds}) to tell"
    if wide and (equal or 100 * width > near):  # a difference that is smaller than what is not known of it
        return "too noisy to tell"
    if equal:
        return f"the same within {ceil(far)} %"
    share = f"{_percent(near)} to {_percent(far)}" if wide else _percent(abs(100 * (ratio.value - 1)))
    return f"{share} % {'slower' if ratio.high < 1 else 'faster'}"


def _percent(share: float) -> str:
    return f"{share:.0f}" if share >= 1 else f"{share:.1f}"


def _sequences(batch: int) -> str:
    return f"{batch} sequence{'s' if batch > 1 else ''}"


def interval(ratio: MedianEstimate) -> str:
    """A ratio with its bounds, in 20 characters up to 99.99."""
    return f"{_number(ratio.value)} [{_number(ratio.low)}, {_number(ratio.high)}]"


def _number(ratio: float) -> str:
    return f"{ratio:.{3 if ratio < 10 else 2 if ratio < 100 else 0}f}"
