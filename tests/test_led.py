"""LED's arithmetic against the method written out in loops, against numbers worked by hand, and by its law."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from final_layers import Rows, final_of
from numpy.typing import NDArray

from ledlocal.led import explore, law, layers_of
from ledlocal.methods.led import candidates, explores, mixture, pick
from ledlocal.values.params import Led

RNG = np.random.default_rng(2602_01698)


def softmax(logits: list[float], temperature: float) -> list[float]:
    top = max(logits)
    weights = [math.exp((x - top) / temperature) for x in logits]
    return [w / math.fsum(weights) for w in weights]


def oracle(layers: list[list[float]]) -> tuple[list[float], int, list[float]]:
    """Distribution, depth and entropies from the candidates' probabilities, layer by layer, final first."""
    entropies, mixtures = [], []
    for i in range(len(layers)):
        sums = [math.fsum(max(layer[x], 1e-6) for layer in layers[:i + 1]) for x in range(len(layers[0]))]
        mixed = [s / math.fsum(sums) for s in sums]
        mixtures.append(mixed)
        entropies.append(-math.fsum(p * math.log(p) for p in mixed))
    depth = next(i for i, h in enumerate(entropies) if h >= max(entropies) - 1e-12)
    return mixtures[depth], depth, entropies


def check(batch: NDArray[np.float64]) -> list[int]:
    """Compare a batch with the oracle, row by row; the depths found."""
    before = batch.copy()
    found = explore(batch)
    assert np.array_equal(batch, before)
    assert found.distribution.dtype == found.entropy.dtype == np.float64
    assert found.distribution.shape == (len(batch), batch.shape[2])
    assert found.depth.shape == (len(batch),)
    for i, rows in enumerate(batch.tolist()):
        distribution, depth, entropies = oracle(rows)
        assert found.depth[i] == depth
        np.testing.assert_allclose(found.distribution[i], distribution, rtol=1e-12)
        np.testing.assert_allclose(mixture(batch[i], depth), distribution, rtol=1e-12)
        np.testing.assert_allclose(found.entropy[i], entropies, rtol=0, atol=1e-12)
    return [int(d) for d in found.depth]


@pytest.mark.parametrize("concentration", [0.02, 0.3, 3.0])
def test_explore_equals_the_oracle_on_random_posteriors(concentration: float) -> None:
    depths = []
    for d, k in ((1, 1), (1, 8), (2, 4), (3, 5), (8, 1), (8, 8), (16, 3)):
        posteriors = RNG.dirichlet(np.full(k + 1, concentration), (200, d))[:, :, :k]
        depths += check(-np.sort(-posteriors, axis=2) if d == 1 else posteriors)
    assert set(depths) > {0, 1, 2, 3}


def test_explore_equals_the_oracle_on_ties_zeros_and_one_hot_rows() -> None:
    for d, k in ((2, 4), (5, 3), (8, 8)):
        one_hot = np.eye(k)[RNG.integers(0, k, (200, d))]
        zeros = np.where(RNG.random((200, d, k)) < 0.7, 0, RNG.random((200, d, k)) / k)
        quarters = RNG.integers(0, 2, (200, d, k)) / 4
        same = np.repeat(RNG.dirichlet(np.full(k, 0.3), (200, 1)), d, axis=1)
        for batch in (one_hot, zeros, quarters, np.zeros((2, d, k)), same):
            depths = check(batch)
        assert set(depths) == {0}, "identical layers add nothing: the final layer alone"


def test_depth_by_hand_a_flat_layer_lifts_a_certain_one() -> None:
    """c1 = .97 .01 .01 .01, H1 = .97*.0305 + .03*4.6052 = 0.1677.

    c2 = (.97+.25, .01+.25 ...) / 2 = .61 .13 .13 .13, H2 = .61*.4943 + .39*2.0402 = 1.0972: the largest.
    """
    found = explore(np.array([[[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]]]))
    assert found.depth.tolist() == [1]
    np.testing.assert_allclose(found.distribution, [[0.61, 0.13, 0.13, 0.13]], rtol=1e-12)
    np.testing.assert_allclose(found.entropy, [[0.1677, 1.0972]], atol=5e-5)


def test_depth_by_hand_the_largest_entropy_may_lie_in_the_middle() -> None:
    """c2 = .9 .35 .33 .32 / 1.9, H2 = 1.2696; c3 = .9 .35 .33 1.32 / 2.9, H3 = 1.2239 (zeros count as 1e-6)."""
    found = explore(np.array([[[0.9, 0.05, 0.03, 0.02], [0, 0.3, 0.3, 0.3], [0, 0, 0, 1.0]]]))
    assert found.depth.tolist() == [1]
    np.testing.assert_allclose(found.distribution, [[0.9 / 1.9, 0.35 / 1.9, 0.33 / 1.9, 0.32 / 1.9]], atol=1e-6)
    np.testing.assert_allclose(found.entropy[0, 1:], [1.2696, 1.2239], atol=5e-5)


def test_a_layer_that_looks_elsewhere_weighs_little() -> None:
    """A layer with 8 % of its mass on the candidates adds .02 to each: .62 .22 .12 .12 / 1.08, not its flat shape."""
    found = explore(np.array([[[0.6, 0.2, 0.1, 0.1], [0.02, 0.02, 0.02, 0.02]]]))
    np.testing.assert_allclose(found.distribution[0] * 1.08, [0.62, 0.22, 0.12, 0.12], rtol=1e-12)


def test_zeros_are_lifted_to_one_millionth() -> None:
    """.5 .5 0 0 becomes .5 .5 1e-6 1e-6, over 1.000002; three such layers are one."""
    found = explore(np.tile([0.5, 0.5, 0, 0], (1, 3, 1)))
    assert found.depth.tolist() == [0]
    np.testing.assert_allclose(found.distribution[0] * 1.000002, [0.5, 0.5, 1e-6, 1e-6], rtol=1e-12)


def test_single_precision_is_worked_in_double() -> None:
    batch = RNG.dirichlet(np.full(8, 0.3), (50, 8)).astype(np.float32)
    assert np.array_equal(explore(batch).distribution, explore(batch.astype(np.float64)).distribution)


def test_posteriors_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        explore(np.array([[[0.5, 0.5], [0.5, float("nan")]]]))


@pytest.mark.parametrize(("d", "k", "vocabulary", "n_layer"),
                         [(8, 8, 50, 12), (8, 8, 5, 12), (8, 3, 50, 4), (8, 9, 4, 2)])
@pytest.mark.parametrize("preset", ["reference", "paper"])
def test_a_whole_step_from_logits(d: int, k: int, vocabulary: int, n_layer: int, preset: str) -> None:
    """Also k > vocabulary and d > layers: softmax over everything, candidates, layers by the page, exploration."""
    led = Led(d=d, k=k, layers=preset)  # type: ignore[arg-type]
    last = {"reference": [n_layer - i for i in range(2, d + 1)], "paper": [n_layer - i for i in range(1, d)]}[preset]
    numbers = [n_layer, *(layer for layer in last if layer >= 1)]
    for _ in range(100):
        logits = RNG.normal(0, 3, (n_layer + 1, vocabulary)).astype(np.float32)
        posteriors = [softmax(row, 0.6) for row in logits.tolist()]
        expected_ids = sorted(range(vocabulary), key=lambda i: (-logits[n_layer, i], i))[:k]
        expected = oracle([[posteriors[layer][i] for i in expected_ids] for layer in numbers])

        ids, probs = candidates(final_of(logits[n_layer], 1 / 0.6, 16), k, Rows(logits[n_layer]))
        stack = [probs[0], *(np.array(posteriors[layer])[ids[0]] for layer in layers_of(led, n_layer))]
        found = explore(np.array([stack]))
        assert ids[0].tolist() == expected_ids
        assert found.depth[0] == expected[1]
        np.testing.assert_allclose(found.distribution[0], expected[0], rtol=1e-9)


def test_layers_by_hand() -> None:
    assert layers_of(Led(), 28) == (26, 25, 24, 23, 22, 21, 20)
    assert layers_of(Led(layers="paper"), 28) == (27, 26, 25, 24, 23, 22, 21)
    assert layers_of(Led(), 4) == (2, 1)
    assert layers_of(Led(layers="paper"), 4) == (3, 2, 1)
    assert layers_of(Led(d=2), 28) == (26,)
    assert [layers_of(Led(), n) for n in (2, 1)] == [(), ()]


def test_candidates_fetch_a_row_only_where_a_tie_runs_out_of_the_list() -> None:
    decided = np.array([9, 8, 7, 6, 6, 5, 4, 3], np.float32)
    tied = np.array([7, 1, 7, 8, 7, 0, 9, 7], np.float32)
    logits = np.stack([decided, tied])
    rows = Rows(logits)
    final = final_of(logits, top=4)
    final.ids[1] = [6, 3, 4, 7]  # of the four tokens at 7 a device may list any two
    ids, probs = candidates(final, 3, rows)
    assert ids.tolist() == [[0, 1, 2], [6, 3, 0]]
    assert rows.fetched == [1]
    full = np.exp(logits - final.logsumexp[:, None].astype(np.float32))
    np.testing.assert_allclose(probs, np.take_along_axis(full, ids, 1), rtol=1e-6)

    rows = Rows(logits)
    assert candidates(final_of(logits, top=6), 2, rows)[0].tolist() == [[0, 1], [6, 3]]
    assert candidates(final_of(logits, top=8), 8, rows)[0].shape == (2, 8)
    assert candidates(final_of(logits, top=8), 1024, rows)[0].shape == (2, 8)
    assert rows.fetched == []
    assert candidates(final_of(logits, top=4), 6, rows)[0].tolist() == [[0, 1, 2, 3, 4, 5], [6, 3, 0, 2, 4, 7]]
    assert rows.fetched == [0, 1]


def test_law_by_hand() -> None:
    """p1 = .5; q_topk = .5 .25 .05 / .8; c2 = .6 .45 .15 / 1.2 has more entropy than c1: half of each."""
    posteriors = np.array([[[0.5, 0.25, 0.05], [0.1, 0.2, 0.1]]])
    expected = [0.5 * 0.625 + 0.5 * 0.5, 0.5 * 0.3125 + 0.5 * 0.375, 0.5 * 0.0625 + 0.5 * 0.125]
    np.testing.assert_allclose(law(posteriors), [expected], rtol=1e-12)
    np.testing.assert_allclose(law(posteriors, exploit=False), [[0.5, 0.375, 0.125]], rtol=1e-12)


def test_coin_and_pick() -> None:
    confidence, coins = np.array([0.5, 0.5, 1.0]), np.array([0.4999, 0.5, 0.9999])
    assert explores(confidence, coins).tolist() == [False, True, False]
    assert explores(confidence, coins, exploit=False).all()
    weights = np.array([[0.3, 0.4, 0.4]])
    assert pick(weights, np.array([0.99]), greedy=True).tolist() == [1]
    assert pick(weights, np.array([0.99]), greedy=False).tolist() == [2]


def test_the_library_face_loads_numpy_and_nothing_heavier() -> None:
    code = ("import sys, ledlocal.led as led; led.explore([[[.6, .4]]]);"
            "print([m for m in ('llama_cpp', 'gguf', 'jinja2', 'click', 'textual', 'scipy') if m in sys.modules])")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
