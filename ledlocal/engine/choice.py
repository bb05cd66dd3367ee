"""From the final layer of a step to one token per row: coins, projection of the rows that explore, draws."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ledlocal.engine.sequence import Chosen, Sequence, Way
from ledlocal.methods.draws import uniforms
from ledlocal.methods.final import FinalLayer
from ledlocal.methods.led import explore, layers_of
from ledlocal.methods.method import METHODS, Choices, Projected, Shortlist, Step
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.runtime.vocabulary import Vocabulary
from ledlocal.values.events import Candidates
from ledlocal.values.params import Detail


class Chooser:
    """Groups the rows of a step by how they are drawn, and draws."""

    def __init__(self, tap: Tap, vocabulary: Vocabulary, n_layer: int) -> None:
        self._tap, self._vocabulary, self._n_layer = tap, vocabulary, n_layer

    def choose(self, final: FinalLayer, sequences: dict[int, Sequence]) -> dict[int, Chosen]:
        """One token per row, none where a layer's posteriors are not finite; `sequences` by row number of `final`."""
        groups: dict[Way, list[int]] = defaultdict(list)
        for row, sequence in sequences.items():
            groups[sequence.way].append(row)
        chosen: dict[int, Chosen] = {}
        for way, members in groups.items():
            rows = np.array(members, np.intp)
            group = [sequences[row] for row in members]
            u = uniforms([one.name() for one in group])
            part = final if len(rows) == len(final.ids) else final.take(rows)
            step = Step(way.sampling, way.in_scope, part, u[:, 0], u[:, 1],
                        lambda i, rows=rows: self._tap.row(int(rows[i])))  # type: ignore[misc]
            chosen |= self._choose_group(step, rows, [one.detail for one in group], way.project_always)
        return chosen

    def _choose_group(self, step: Step, rows: NDArray[np.intp], details: list[Detail],
                      always: bool) -> dict[int, Chosen]:
        method = METHODS[step.sampling.method]
        candidates = method.candidates(step)
        explored = method.explores(step, candidates)
        [project] = (explored | always).nonzero()
        projected = self._project(step, rows, candidates, project) if len(project) else None
        unsound = project[:0]
        if projected is not None:
            unsound = project[~np.isfinite(projected.posteriors).all((1, 2))]
            if len(unsound):
                np.nan_to_num(projected.posteriors, copy=False)
        choices = method.choose(step, candidates, explored, projected)
        depths: dict[int, int] = {}
        if choices.exploration is not None:
            depths = dict(zip(project.tolist(), choices.exploration.depth.tolist(), strict=True))
        drawn = zip(choices.tokens.tolist(), np.minimum(candidates[1][:, 0], 1.0).tolist(), step.final.entropy.tolist(),
                    explored.tolist(), choices.changed.tolist(), map(depths.get, range(len(rows))),
                    zip(step.u0.tolist(), step.u1.tolist(), strict=True),
                    self._show(step, candidates, choices, projected, details), strict=True)
        chosen: dict[int, Chosen] = dict(zip(rows.tolist(), drawn, strict=True))
        for i in unsound.tolist():
            del chosen[int(rows[i])]
        return chosen

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
        if projected is not None and choices.exploration is not None:
            for j, i in enumerate(projected.rows.tolist()):
                if details[i] != "none":
                    shown[i] = self._candidates(step, ids[i], projected.posteriors[j], choices.exploration.entropy[j])
        for i, detail in enumerate(details):
            if detail in ("candidates", "all") and shown[i] is None:
                final = probs[i][None]
                shown[i] = self._candidates(step, ids[i], final, explore(final[None]).entropy[0])
        return shown

    def _candidates(self, step: Step, ids: NDArray[np.int32], posteriors: NDArray[np.floating],
                    entropy: NDArray[np.float64]) -> Candidates:
        numbers = ids.tolist()
        texts = tuple(map(self._vocabulary.text_of, numbers))
        layers = (self._n_layer, *layers_of(step.sampling.led, self._n_layer))
        return Candidates(tuple(numbers), texts, layers, tuple(map(tuple, posteriors.tolist())),
                          tuple(entropy.tolist()))
