"""The methods as the engine calls them: coin, candidates, projection, choice, over many rows of one state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from final_layers import Rows, final_of
from numpy.typing import NDArray
from scipy import stats

from ledlocal.methods.draws import uniforms
from ledlocal.methods.led import explore, law
from ledlocal.methods.method import METHODS, Choices, Projected, Shortlist, Step
from ledlocal.values.params import Led, MethodName, Sampling

LOGITS = np.array([2.0, -1.0, 1.0, 0.5, 1.5, -3.0, 0.0, 1.8, -0.5, 0.2], np.float32)
LAYERS = np.array([[0.05, 0.10, 0.10, 0.05, 0.40, 0.05, 0.05, 0.10, 0.05, 0.05],
                   [0.02, 0.08, 0.20, 0.10, 0.30, 0.05, 0.05, 0.10, 0.05, 0.05],
                   [0.30, 0.00, 0.00, 0.00, 0.30, 0.00, 0.00, 0.40, 0.00, 0.00]])
"""Full-vocabulary posteriors of three intermediate layers."""
N = 20_000
COINS, TOKENS = uniforms((11, "law", 0, i) for i in range(N)).T


def step_of(sampling: Sampling, n: int = N, in_scope: bool = True) -> Step:
    """The same state in n rows, each with its own uniforms."""
    final = final_of(np.tile(LOGITS, (n, 1)), METHODS[sampling.method].inv_temp(sampling))
    return Step(sampling, in_scope, final, COINS[:n], TOKENS[:n], Rows(LOGITS))


def posteriors_of(candidates: Shortlist, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    ids, probs = candidates
    return np.concatenate([probs[rows, None], LAYERS[:, ids[rows]].transpose(1, 0, 2)], axis=1)


def run(step: Step, watch_all: bool = False) -> tuple[Choices, NDArray[np.bool_]]:
    """One step as an engine makes it; `watch_all` projects every row."""
    method = METHODS[step.sampling.method]
    candidates = method.candidates(step)
    explored = method.explores(step, candidates)
    rows = np.arange(len(explored)) if watch_all else np.flatnonzero(explored)
    projected = Projected(rows, posteriors_of(candidates, rows)) if len(rows) else None
    return method.choose(step, candidates, explored, projected), explored


def sampling_of(method: MethodName = "led", temperature: float = 0.6, **led: object) -> Sampling:
    return Sampling(method, temperature, led=Led(d=4, k=5, **led))  # type: ignore[arg-type]


def p_value(tokens: NDArray[np.int32], ids: NDArray[np.int32], probs: NDArray[np.float64]) -> float:
    counts = np.array([(tokens == i).sum() for i in ids])
    assert counts.sum() == len(tokens)
    return float(stats.chisquare(counts, probs * len(tokens)).pvalue)


def test_twenty_thousand_draws_follow_the_law() -> None:
    step = step_of(sampling_of())
    choices, explored = run(step)
    ids, probs = METHODS["led"].candidates(step_of(sampling_of(), 1))
    posteriors = posteriors_of((ids, probs), np.array([0]))
    assert ids[0].tolist() == [0, 7, 4, 2, 3]
    assert 0.3 < probs[0, 0] < 0.6
    assert stats.binomtest(int(explored.sum()), N, 1 - probs[0, 0]).pvalue > 0.01
    assert p_value(choices.tokens, ids[0], law(posteriors)[0]) > 0.01
    assert p_value(choices.tokens, ids[0], probs[0] / probs[0].sum()) < 1e-9, "a test without power"
    assert p_value(choices.tokens, ids[0], explore(posteriors).distribution[0]) < 1e-9


def test_forced_on_the_draws_follow_the_mixture() -> None:
    choices, explored = run(step_of(sampling_of(exploit=False)))
    ids, probs = METHODS["led"].candidates(step_of(sampling_of(), 1))
    found = explore(posteriors_of((ids, probs), np.array([0])))
    assert explored.all()
    assert found.depth[0] > 0
    assert p_value(choices.tokens, ids[0], found.distribution[0]) > 0.01
    assert choices.exploration is not None
    assert set(choices.exploration.depth.tolist()) == {int(found.depth[0])}


@pytest.mark.parametrize("temperature", [0, 0.6, 1.3])
def test_forced_off_equals_control_draw_for_draw(temperature: float) -> None:
    control, explored = run(step_of(sampling_of("control", temperature)))
    assert not explored.any()
    certain = step_of(sampling_of(temperature=temperature))
    for off in (replace(certain, u0=np.zeros(N)), replace(certain, in_scope=False)):
        choices, explored = run(off)
        assert not explored.any()
        assert not choices.changed.any()
        assert np.array_equal(choices.tokens, control.tokens)
    if temperature:
        ids, probs = METHODS["control"].candidates(step_of(sampling_of("control", temperature), 1))
        assert p_value(control.tokens, ids[0], probs[0] / probs[0].sum()) > 0.01


@pytest.mark.parametrize("temperature", [0, 0.6])
def test_rows_that_exploit_draw_as_control_and_changed_says_where_others_differ(temperature: float) -> None:
    choices, explored = run(step_of(sampling_of(temperature=temperature)))
    control, _ = run(step_of(sampling_of("control", temperature)))
    assert 0 < explored.sum() < N
    assert np.array_equal(choices.changed, choices.tokens != control.tokens)
    assert choices.changed.any()
    assert not choices.changed[~explored].any()


def test_greedy_takes_the_heaviest_of_each_and_still_tosses_the_coin() -> None:
    step = step_of(sampling_of(temperature=0))
    choices, explored = run(step)
    ids, probs = METHODS["led"].candidates(step)
    np.testing.assert_allclose(probs[0, 0], np.exp(2.0) / np.exp(LOGITS.astype(np.float64)).sum())  # T = 1
    assert np.array_equal(explored, step.u0 >= probs[0, 0])
    mixture = explore(posteriors_of((ids, probs), np.array([0]))).distribution[0]
    heaviest = ids[0, mixture.argmax()]
    assert heaviest != 0
    assert np.array_equal(choices.tokens, np.where(explored, heaviest, 0))


@pytest.mark.parametrize("name", ["led", "control", "standard"])
def test_watching_every_row_changes_no_token(name: MethodName) -> None:
    step = step_of(sampling_of(name), 500)
    watched, explored = run(step, watch_all=True)
    alone, _ = run(step)
    assert np.array_equal(watched.tokens, alone.tokens)
    assert np.array_equal(watched.changed, alone.changed)
    assert watched.exploration is not None
    assert watched.exploration.entropy.shape == (500, 4)
    if name == "led":
        assert alone.exploration is not None
        assert np.array_equal(watched.exploration.depth[explored], alone.exploration.depth)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    step = step_of(sampling_of(), 300)
    together, _ = run(step)
    for i in range(0, 300, 7):
        row = np.array([i])
        alone, _ = run(replace(step, final=step.final.take(row), u0=step.u0[row], u1=step.u1[row]))
        assert alone.tokens[0] == together.tokens[i]


def test_every_row_draws_from_its_own_mixture() -> None:
    """Row i's second layer fills the final one up to .5 each, .6 for candidate i + 1: flat, with that one on top.

    Rows 1 and 3 explore, all but row 0 are watched.
    """
    method, step = METHODS["led"], step_of(sampling_of(temperature=0), 4)
    ids, probs = method.candidates(step)
    watched, explored = np.array([1, 2, 3]), np.array([False, True, False, True])
    posteriors = posteriors_of((ids, probs), watched)
    posteriors[:, 1] = 0.5 - probs[watched] + 0.1 * np.eye(5)[watched + 1]
    posteriors[:, 2:] = 0
    choices = method.choose(step, (ids, probs), explored, Projected(watched, posteriors))
    assert choices.tokens.tolist() == ids[0, [0, 2, 0, 4]].tolist()
    assert choices.changed.tolist() == explored.tolist()


def test_methods_share_their_randomness() -> None:
    """Without truncation but the same candidates, standard draws what control draws."""
    standard = Sampling("standard", 0.6, 5, 1.0, order="paper", led=Led(d=4, k=5))
    control, _ = run(step_of(sampling_of("control")))
    assert np.array_equal(run(step_of(standard))[0].tokens, control.tokens)


def test_a_row_that_explores_unprojected_is_an_error() -> None:
    method, step = METHODS["led"], step_of(sampling_of(exploit=False), 3)
    candidates = method.candidates(step)
    explored = method.explores(step, candidates)
    some = np.array([0, 2])
    for projected in (None, Projected(some, posteriors_of(candidates, some))):
        with pytest.raises(ValueError, match="must be projected"):
            method.choose(step, candidates, explored, projected)


def test_a_model_without_layers_to_mix_explores_its_final_layer() -> None:
    method, step = METHODS["led"], step_of(sampling_of(exploit=False), 100)
    ids, probs = method.candidates(step)
    explored = method.explores(step, (ids, probs))
    choices = method.choose(step, (ids, probs), explored, Projected(np.arange(100), probs[:, None]))
    assert not choices.changed.any()


def test_temperatures_the_final_layer_is_wanted_at() -> None:
    def at(method: MethodName, temperature: float, order: str = "llama") -> float:
        return METHODS[method].inv_temp(Sampling(method, temperature, order=order))  # type: ignore[arg-type]

    names: tuple[MethodName, ...] = ("led", "control")
    assert [at("standard", t) for t in (0.5, 0)] == [1, 1]
    assert [at("standard", t, "paper") for t in (0.5, 0)] == [2, 1]
    assert [at(name, t) for name in names for t in (0.5, 0)] == [2, 1, 2, 1]
