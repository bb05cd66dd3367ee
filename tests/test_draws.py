"""Random numbers: fixed for ever by their name, uniform, independent; draws that never pick the impossible."""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ledlocal.methods.draws import Name, draw, uniforms

LARGEST = 1 - 2.0**-53


def test_uniforms_are_the_documented_bits_of_blake2b() -> None:
    digest = hashlib.blake2b(struct.pack("<QQQ", 7, 3, 1000) + "aime/5 é".encode(), digest_size=16).digest()
    expected = [int.from_bytes(half, "little") // 2**11 / 2**53 for half in (digest[:8], digest[8:])]
    assert uniforms([(7, "aime/5 é", 3, 1000)]).tolist() == [expected]


def test_uniforms_stay_what_published_runs_used() -> None:
    assert uniforms([(0, "", 0, 0), (2**64 - 1, "gsm8k/17", 15, 32767)]).tolist() == [
        [0.532341430967833, 0.09546102225587183], [0.7549199159910087, 0.28499933969583024]]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.text(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))))
def test_many_names_at_once_have_the_numbers_of_each_alone(names: list[Name]) -> None:
    assert uniforms(names).tolist() == [uniforms([name])[0].tolist() for name in names]


def test_every_part_of_the_name_counts() -> None:
    names = [(s, p, n, i) for s in range(4) for p in ("", "0", "a", "\udc80") for n in range(4) for i in range(4)]
    assert len(np.unique(uniforms(names))) == 2 * len(names)


def test_a_name_out_of_range_is_refused() -> None:
    for name in ((-1, 0, 0), (2**64, 0, 0), (0, -1, 0), (0, 0, -1)):
        with pytest.raises(struct.error):
            uniforms([(name[0], "", name[1], name[2])])


def test_uniforms_are_uniform_and_independent() -> None:
    u = uniforms((1, "p", sample, i) for sample in range(10) for i in range(1000))
    cells, *_ = np.histogram2d(u[:, 0], u[:, 1], bins=16, range=((0, 1), (0, 1)))
    assert stats.chisquare(cells.ravel()).pvalue > 0.01
    following, *_ = np.histogram2d(u[:-1, 1], u[1:, 1], bins=16, range=((0, 1), (0, 1)))
    assert stats.chisquare(following.ravel()).pvalue > 0.01


def test_the_largest_uniform_is_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ones:
        def __init__(self, _key: bytes, digest_size: int) -> None:
            self.size = digest_size

        def digest(self) -> bytes:
            return b"\xff" * self.size

    monkeypatch.setattr(hashlib, "blake2b", Ones)
    assert uniforms([(0, "", 0, 0)]).tolist() == [[LARGEST, LARGEST]]


def test_draw_by_hand() -> None:
    # Cumulated: 1, 1, 4, 8 of 8; an edge belongs to the next candidate.
    weights = np.tile([1.0, 0.0, 3.0, 4.0], (7, 1))
    u = np.array([0, 0.1249, 0.125, 0.4999, 0.5, 0.9, LARGEST])
    assert draw(weights, u).tolist() == [0, 0, 2, 2, 3, 3, 3]


def test_leading_and_trailing_zeros_are_never_drawn() -> None:
    weights = np.array([[0.0, 0.0, 5e-324, 0.0], [0.0, 0.3, 0.1, 0.0], [0.0, 0.0, 0.0, 1e300]])
    for u, expected in ((0.0, [2, 1, 3]), (LARGEST, [2, 2, 3])):
        assert draw(weights, np.full(3, u)).tolist() == expected


def test_nothing_to_draw_from_is_an_error() -> None:
    for weights in ([0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="finite and not all zero"):
            draw(np.array([weights]), np.array([0.5]))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any), st.integers(0, 2**20 - 1))
def test_draw_is_the_exact_inverse_cdf(weights: list[int], u: int) -> None:
    target = Fraction(u, 2**20) * sum(weights)
    expected = next(i for i in range(len(weights)) if sum(weights[:i + 1]) > target)
    assert draw(np.array([weights], np.float64), np.array([u / 2**20])).tolist() == [expected]


def test_the_largest_u_finds_a_candidate_whatever_the_rounding() -> None:
    weights = np.random.default_rng(0).random((20_000, 9))
    weights[:, -2:] = 0
    assert (draw(weights, np.full(len(weights), LARGEST)) == 6).all()


def test_a_row_draws_the_same_beside_one_whose_target_rounds_to_its_total() -> None:
    rng = np.random.default_rng(1)
    weights, u = rng.random((300, 9)), np.where(rng.random(300) < 0.3, LARGEST, rng.random(300))
    alone = [draw(weights[i:i + 1], u[i:i + 1])[0] for i in range(300)]
    assert draw(weights, u).tolist() == alone
