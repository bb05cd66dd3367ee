"""From the final layer of a step to one token per row: coins, projection of the rows that explore, draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledlocal.engine.sequence import Sequence, Way
from ledlocal.methods.final import FinalLayer
from ledlocal.methods.led import explore, layers_of
from ledlocal.methods.method import METHODS, Choices, Projected, Shortlist, Step
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.runtime.vocabulary import Vocabulary
from ledlocal.values.events import Candidates
from ledlocal.values.params import Detail


class Chosen(NamedTuple):
    """One row's token and how it came about."""

    token: int
    explored: bool
    changed: bool
    depth: int | None
    u: tuple[float, float]
    candidates: Candidates | None
    sound: bool
    """False: a layer's posteriors are not finite, so `token` means nothing."""


class Chooser:
    """Groups the rows of a step by how they are drawn, and draws."""

    def __init__(self, tap: Tap, vocabulary: Vocabulary, n_layer: int) -> None:
        self._tap, self._vocabulary, self._n_layer = tap, vocabulary, n_layer

    def choose(self, final: FinalLayer, sequences: dict[int, Sequence]) -> dict[int, Chosen]:
        """One token per row; `sequences` by row number of `final`."""
        groups: dict[Way, list[int]] = defaultdict(list)
        for row, sequence in sequences.items():
            groups[sequence.way].append(row)
        chosen: dict[int, Chosen] = {}
        for way, members in groups.items():
            rows = np.array(members, np.intp)
            u = np.array([sequences[row].uniforms() for row in members])
            step = Step(way.sampling, way.in_scope, final.take(rows), u[:, 0], u[:, 1],
                        lambda i, rows=rows: self._tap.row(int(rows[i])))  # type: ignore[misc]
            one = self._choose_group(step, rows, [sequences[row] for row in members], way.project_always)
            chosen.update(zip(members, one, strict=True))
        return chosen

    def _choose_group(self, step: Step, rows: NDArray[np.intp], sequences: list[Sequence],
                      always: bool) -> Iterator[Chosen]:
        method = METHODS[step.sampling.method]
        explored = method.explores(step)
        candidates = method.candidates(step)
        project = np.flatnonzero(explored | always)
        projected = self._project(step, rows, candidates, project) if len(project) else None
        unsound: set[int] = set()
        if projected is not None:
            unsound = {int(i) for i in project[~np.isfinite(projected.posteriors).all((1, 2))]}
            np.nan_to_num(projected.posteriors, copy=False)
        choices = method.choose(step, candidates, explored, projected)
        shown = self._show(step, candidates, choices, projected, [one.detail for one in sequences])
        depth = choices.exploration.depth if choices.exploration is not None else np.empty(0, np.intp)
        depths = dict(zip(project.tolist(), depth.tolist(), strict=True))
        return map(Chosen, choices.tokens.tolist(), explored.tolist(), choices.changed.tolist(),
                   map(depths.get, range(len(rows))), zip(step.u0.tolist(), step.u1.tolist(), strict=True), shown,
                   [i not in unsound for i in range(len(rows))] if unsound else repeat(True))

    def _project(self, step: Step, rows: NDArray[np.intp], candidates: Shortlist,
                 project: NDArray[np.intp]) -> Projected:
        """Posteriors of the candidates at the method's layers, the final one first."""
        ids, probs = candidates[0][project], candidates[1][project]
        led = step.sampling.led
        layers = layers_of(led, self._n_layer)
        if not layers:
            return Projected(project, probs[:, None, :])
        deeper = self._tap.project(rows[project], ids, layers, led.norm, step.final.inv_temp[project])
        return Projected(project, np.concatenate([probs[:, None, :], deeper], axis=1))

    def _show(self, step: Step, candidates: Shortlist, choices: Choices, projected: Projected | None,
              details: list[Detail]) -> list[Candidates | None]:
        """Candidates of the rows whose requests want to know them: projected ones, or all."""
        ids, probs = candidates
        shown: list[Candidates | None] = [None] * len(ids)
        layers = (self._n_layer, *layers_of(step.sampling.led, self._n_layer))
        if projected is not None and choices.exploration is not None:
            for j, i in enumerate(projected.rows.tolist()):
                if details[i] != "none":
                    shown[i] = self._candidates(ids[i], layers, projected.posteriors[j],
                                                choices.exploration.entropy[j])
        for i, detail in enumerate(details):
            if detail in ("candidates", "all") and shown[i] is None:
                final = probs[i][None]
                shown[i] = self._candidates(ids[i], layers, final, explore(final[None]).entropy[0])
        return shown

    def _candidates(self, ids: NDArray[np.int32], layers: tuple[int, ...], posteriors: NDArray[np.floating],
                    entropy: NDArray[np.float64]) -> Candidates:
        numbers = ids.tolist()
        texts = tuple(self._vocabulary.piece(i).decode("utf-8", "replace") for i in numbers)
        return Candidates(tuple(numbers), texts, layers, tuple(map(tuple, posteriors.tolist())),
                          tuple(entropy.tolist()))
