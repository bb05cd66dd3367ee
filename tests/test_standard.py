"""Plain sampling against llama.cpp's own sampler chain and against the paper's baseline, written out."""

from __future__ import annotations

import ctypes
from itertools import product

import llama_cpp.llama_cpp as C
import numpy as np
import pytest
from final_layers import Rows, final_of
from numpy.typing import NDArray
from scipy import stats

from ledlocal.methods.standard import choose, inv_temp, law
from ledlocal.values.params import Sampling

Law = tuple[NDArray[np.int32], NDArray[np.float64]]

TOP_K, TOP_P, MIN_P = (0, 1, 5, 20, 40, 100), (1.0, 0.95, 0.9, 0.5, 0.0), (0.0, 0.05, 0.5, 1.0)


def random_logits(rng: np.random.Generator, vocabulary: int, step: float) -> NDArray[np.float32]:
    """A row of logits; `step` > 0 rounds them to multiples of it, which makes ties."""
    logits = rng.normal(0, rng.choice([0.5, 2, 5]), vocabulary)
    return (np.round(logits / step) * step if step else logits).astype(np.float32)


def llama_chain(logits: NDArray[np.float32], sampling: Sampling) -> Law:
    """Survivors by falling probability, ties by id, of the real chain top_k, top_p, min_p, temp, dist."""
    array = (C.llama_token_data * len(logits))(*((i, float(x), 0.0) for i, x in enumerate(logits)))
    data = C.llama_token_data_array(array, len(logits), -1, False)
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    for sampler in (C.llama_sampler_init_top_k(sampling.top_k), C.llama_sampler_init_top_p(sampling.top_p, 1),
                    C.llama_sampler_init_min_p(sampling.min_p, 1), C.llama_sampler_init_temp(sampling.temperature),
                    C.llama_sampler_init_dist(0)):
        C.llama_sampler_chain_add(chain, sampler)
    C.llama_sampler_apply(chain, ctypes.byref(data))
    kept = sorted(((array[i].p, array[i].id) for i in range(data.size) if array[i].p > 0), key=lambda x: (-x[0], x[1]))
    C.llama_sampler_free(chain)
    return np.array([i for _, i in kept], np.int32), np.array([p for p, _ in kept])


def paper_chain(logits: NDArray[np.float32], sampling: Sampling) -> Law:
    """The paper's baseline on a whole row, token by token."""
    z = logits.astype(np.float64) / sampling.temperature
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    kept: list[int] = []
    before = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: (-logits[i], i))):
        in_mass = sampling.top_p == 1 or before <= sampling.top_p
        if (not sampling.top_k or rank < sampling.top_k) and in_mass and p[i] >= sampling.min_p * p.max():
            kept.append(i)
        before += p[i]
    return np.array(kept, np.int32), p[kept] / p[kept].sum()


@pytest.mark.parametrize("step", [0, 0.25, 1])
def test_llama_order_equals_the_real_sampler_chain(step: float) -> None:
    rng = np.random.default_rng(int(step * 4))
    for top_k, top_p, min_p, temperature in product(TOP_K, TOP_P, MIN_P, (0.6, 1.5, 0.0)):
        logits = random_logits(rng, int(rng.integers(3, 300)), step)
        sampling = Sampling("standard", temperature, top_k, top_p, min_p)
        ids, probs = law(final_of(logits, inv_temp(sampling)), sampling, Rows(logits))[0]
        expected_ids, expected_probs = llama_chain(logits, sampling)
        shown = f"{sampling} vocabulary {len(logits)}"
        assert len(ids) == len(expected_ids), shown
        np.testing.assert_allclose(probs, expected_probs, rtol=3e-5, err_msg=shown)
        # llama.cpp's sort is unstable: which of the tokens tied at the cut survive is its accident
        sure = logits[ids] > logits[ids[-1]]
        assert ids[sure].tolist() == expected_ids[sure].tolist(), shown
        assert sorted(logits[ids]) == sorted(logits[expected_ids]), shown


@pytest.mark.parametrize("step", [0, 0.25, 1])
def test_paper_order_equals_the_baseline_written_out(step: float) -> None:
    rng = np.random.default_rng(int(step * 4))
    for top_k, top_p, min_p, temperature in product(TOP_K, TOP_P, MIN_P, (0.6, 1.5)):
        logits = random_logits(rng, int(rng.integers(3, 300)), step)
        sampling = Sampling("standard", temperature, top_k, top_p, min_p, "paper")
        ids, probs = law(final_of(logits, inv_temp(sampling)), sampling, Rows(logits))[0]
        expected_ids, expected_probs = paper_chain(logits, sampling)
        assert ids.tolist() == expected_ids.tolist(), f"{sampling} vocabulary {len(logits)}"
        np.testing.assert_allclose(probs, expected_probs, rtol=1e-9)


def test_the_orders_differ_as_worked_by_hand() -> None:
    """Logits ln 8, ln 4, ln 2, ln 1, ln 1: p = 8 4 2 1 1 / 16. T = .5 squares the weights: 64 16 4 1 1 / 86.

    llama, top_k 3: 8/14, 12/14, 14/14, so top_p .85 keeps two (12/14 = .857) whatever T, then 64 : 16.
    paper, T .5: the mass before each is 0, .744, .930, so top_p .85 keeps two of the three.
    paper, T 1: the mass before each is 0, .5, .75, so top_p .85 keeps all three: 8 : 4 : 2.
    """
    logits = np.log(np.array([8, 4, 2, 1, 1], np.float32))

    def kept(temperature: float, top_p: float, order: str) -> list[float]:
        sampling = Sampling("standard", temperature, 3, top_p, 0, order)  # type: ignore[arg-type]
        ids, probs = law(final_of(logits, inv_temp(sampling)), sampling, Rows(logits))[0]
        assert ids.tolist() == list(range(len(ids)))
        return [round(float(p), 4) for p in probs]

    assert kept(0.5, 0.85, "llama") == kept(0.5, 0.85, "paper") == [0.8, 0.2]
    assert kept(1, 0.85, "llama") == [0.6667, 0.3333]
    assert kept(1, 0.85, "paper") == [0.5714, 0.2857, 0.1429]


def test_a_mass_equal_to_top_p_by_hand() -> None:
    """Four tokens of .25, top_p .5: llama stops once it has .5 (2 tokens), paper after more than .5 (3 tokens)."""
    logits = np.zeros(4, np.float32)
    for order, expected in (("llama", [0, 1]), ("paper", [0, 1, 2])):
        sampling = Sampling("standard", 1.0, 4, 0.5, 0, order)  # type: ignore[arg-type]
        assert law(final_of(logits), sampling, Rows(logits))[0][0].tolist() == expected
    assert len(llama_chain(logits, Sampling("standard", 1.0, 4, 0.5))[0]) == 2


FLAT_TAIL = np.concatenate([[9, 8, 7.5], np.linspace(7, 0, 97)]).astype(np.float32)
TIED = np.array([9, 8, 8, 8, 8, 8, 8, 8, 1, 0], np.float32)


@pytest.mark.parametrize("order", ["llama", "paper"])
@pytest.mark.parametrize(("logits", "top", "settings", "fetches"), [
    (FLAT_TAIL, 10, {"top_k": 9}, 0),
    (FLAT_TAIL, 10, {"top_k": 10}, 1),   # the tenth token may tie with one outside the list
    (FLAT_TAIL, 10, {"top_k": 10, "top_p": 0.5}, 0),
    (FLAT_TAIL, 10, {"top_k": 11}, 1),
    (FLAT_TAIL, 10, {"top_k": 11, "min_p": 0.5}, 0),
    (FLAT_TAIL, 10, {"top_k": 0}, 1),
    (FLAT_TAIL, 10, {"top_k": 0, "top_p": 0.3}, 0),
    (FLAT_TAIL, 10, {"top_k": 0, "top_p": 0.99}, 1),
    (FLAT_TAIL, 10, {"top_k": 0, "top_p": 0.99, "min_p": 0.5}, 0),
    (FLAT_TAIL, 10, {"top_k": 0, "min_p": 1e-5}, 1),
    (FLAT_TAIL, 10, {"top_k": 0, "temperature": 0}, 0),
    (FLAT_TAIL, 100, {"top_k": 0}, 0),   # the list is the vocabulary
    (TIED, 4, {"top_k": 3}, 1),
    (TIED, 4, {"top_k": 1}, 0),
    (TIED, 9, {"top_k": 3}, 0),
    (TIED[1:], 4, {"temperature": 0}, 1),
])
def test_a_row_is_fetched_exactly_when_the_list_cannot_decide(
        order: str, logits: NDArray[np.float32], top: int, settings: dict[str, float], fetches: int) -> None:
    defaults = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "top_k": 20}
    sampling = Sampling("standard", order=order, **(defaults | settings))  # type: ignore[arg-type]
    final, whole = final_of(logits, top=top), final_of(logits, top=len(logits))
    u1 = np.array([0.8])
    rows = Rows(logits)
    assert choose(final, u1, sampling, rows).tolist() == choose(whole, u1, sampling, rows).tolist()
    assert rows.fetched == [0] * fetches
    if sampling.temperature:
        expected = (llama_chain if order == "llama" else paper_chain)(logits, sampling)
        ids, probs = law(final, sampling, rows)[0]
        assert sorted(logits[ids]) == sorted(logits[expected[0]])
        np.testing.assert_allclose(probs, expected[1], rtol=3e-5)


def test_llama_order_cannot_tell_a_share_of_a_mass_outside_the_list() -> None:
    """top_p is a share of the 11 tokens' mass, of which the list shows 10; the joint order takes it of everything."""
    for order, fetches in (("llama", 1), ("paper", 0)):
        sampling = Sampling("standard", 1.0, 11, 0.3, 0.9, order)  # type: ignore[arg-type]
        rows = Rows(FLAT_TAIL)
        assert choose(final_of(FLAT_TAIL, top=10), np.array([0.9]), sampling, rows).tolist() == [0]
        assert rows.fetched == [0] * fetches


def test_only_the_open_row_of_a_step_is_fetched_and_the_smallest_ids_win() -> None:
    logits = np.stack([np.arange(10, 0, -1), TIED, np.arange(10)]).astype(np.float32)
    final = final_of(logits, top=4)
    final.ids[1] = [0, 5, 6, 7]  # of the seven tokens at 8 a device may list any three
    before = final.ids.copy()
    rows = Rows(logits)
    sampling = Sampling("standard", 1.0, 3, 1.0)
    last = np.full(3, 1 - 2.0**-53)
    assert choose(final, last, sampling, rows).tolist() == [2, 2, 7]
    assert rows.fetched == [1]
    assert np.array_equal(final.ids, before)


@pytest.mark.parametrize("order", ["llama", "paper"])
def test_draws_follow_the_law_and_zero_is_greedy(order: str) -> None:
    logits = np.random.default_rng(3).normal(0, 2, 200).astype(np.float32)
    sampling = Sampling("standard", 0.8, 12, 0.9, 0.02, order)  # type: ignore[arg-type]
    n = 20_000
    final = final_of(np.tile(logits, (n, 1)), inv_temp(sampling))
    rows = Rows(logits)
    ids, probs = law(final.take(np.array([0])), sampling, rows)[0]
    assert 3 < len(ids) < 12
    tokens = choose(final, np.random.default_rng(4).random(n), sampling, rows)
    counts = [(tokens == i).sum() for i in ids]
    assert sum(counts) == n
    assert stats.chisquare(counts, probs * n).pvalue > 0.01
    # The same u walks down the list: inverse CDF over falling probability.
    middle = (np.cumsum(probs) - probs / 2)
    few = final.take(np.arange(len(ids)))
    assert choose(few, middle, sampling, rows).tolist() == ids.tolist()
    greedy = Sampling("standard", 0, order=order)  # type: ignore[arg-type]
    assert set(choose(few, middle, greedy, rows).tolist()) == {int(logits.argmax())}


def test_limits_that_round_to_off_in_single_precision_are_off() -> None:
    logits = np.arange(8, dtype=np.float32)
    off = Sampling("standard", 1.0, 5, 1 - 1e-12, 1e-60)
    ids, probs = law(final_of(logits), off, Rows(logits))[0]
    expected_ids, expected_probs = llama_chain(logits, off)
    assert ids.tolist() == expected_ids.tolist() == [7, 6, 5, 4, 3]
    np.testing.assert_allclose(probs, expected_probs, rtol=1e-6)
