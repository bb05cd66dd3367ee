"""The lens: by hand, and beside hidden rows that NumPy projects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import token
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import log_softmax
from tap_witness import ENTROPY, GPU, RANK, Callback
from tiny_models import F32, TinyModels
from tiny_recipes import UNTAPPABLE

from ledlocal import Engine
from ledlocal.engine.lens import look
from ledlocal.lens import KS, Observations, Tally, observe, summarize
from ledlocal.models import DEMO
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.statistics.interval import Estimate, estimate, pooled
from ledlocal.values.errors import TapRefused
from ledlocal.values.events import Event, Finished, Lens, Token
from ledlocal.values.params import EngineOptions, Request, Sampling, TapName
from ledlocal.worker.protocol import FrameReader, encode

PLAIN = Sampling("standard", temperature=1, top_k=0, top_p=1, order="paper")
PROMPTS = (tuple(b"hello there"), tuple(b"what is it"), tuple(b"and now?"))


def seen(*, entropy: Any = (1.0, 0.5), rank: Any = (3, 0), normed_entropy: Any = (2.0, 0.25), normed_rank: Any = (8, 0),
         confidence: float = 0.95) -> Token:
    return replace(token("a", "thinking"), confidence=confidence,
                   lens=Lens(entropy, rank, normed_entropy, normed_rank))


def tally(*tokens: Token) -> Tally:
    found = Tally(2)
    for one in tokens:
        found.add(one)
    return found


def values(estimates: tuple[Estimate, ...]) -> list[float]:
    return [one.value for one in estimates]


def test_numbers_by_hand() -> None:
    first = tally(seen(), seen(entropy=(0.0, 0.5), rank=(0, 1), confidence=0.9), seen(rank=(16, 0), confidence=1.0))
    second = tally(seen(entropy=(3.0, 0.5), rank=(15, 0), confidence=0.05))
    found = summarize([first, second, tally()], 16)
    assert (found.tokens, found.prompts) == (4, 2)
    assert_allclose(values(found.raw.entropy), np.array([5 / 4, 0.5]) / math.log(16))
    assert_allclose(values(found.normed.entropy), np.array([2.0, 0.25]) / math.log(16))
    assert [values(found.raw.coverage[k]) for k in KS] == [
        [0.25, 0.75], [0.25, 1.0], [0.5, 1.0], [0.5, 1.0], [0.75, 1.0]]
    assert [values(found.normed.coverage[k]) for k in KS] == [[0, 1], [0, 1], [0, 1], [0, 1], [1, 1]]
    assert found.normed.coverage[1][1] == Estimate(1, 1, 1)
    assert found.confidence.value == pytest.approx(2.9 / 4)
    assert found.sure.value == 0.5
    assert found.histogram == (1, *[0] * 8, 3)


def test_what_is_not_finite_is_left_out() -> None:
    torn = seen(entropy=(None, 0.5), rank=(None, 0))
    found = summarize([tally(torn, seen()), tally(torn)], 16)
    assert found.raw.unsound == (2, 0) and found.normed.unsound == (0, 0)
    assert_allclose(values(found.raw.entropy), np.array([1.0, 0.5]) / math.log(16))
    assert values(found.raw.coverage[4]) == [1.0, 1.0]
    nothing = summarize([tally(torn)], 16).raw
    assert math.isnan(nothing.entropy[0].value) and math.isnan(nothing.coverage[1][0].low)


def test_a_token_without_a_lens_is_refused() -> None:
    with pytest.raises(ValueError, match="without the lens"):
        tally(token("a"))


def test_an_engine_says_none_where_logits_are_not_finite() -> None:
    class Overflowing:
        def measure(self, rows: NDArray[np.intp], layers: range, norm: bool) -> Any:
            entropy = np.array([[0.5, 0.25]] * len(rows))
            if not norm:
                entropy[:, 0] = np.nan
            return entropy, np.zeros(entropy.shape, np.int64)

    found = look(Overflowing(), [3, 5], 2)  # type: ignore[arg-type]
    assert found == dict.fromkeys((3, 5), Lens((None, 0.25), (None, 0), (0.5, 0.25), (0, 0)))
    assert look(Overflowing(), [], 2) == {}  # type: ignore[arg-type]
    told = replace(token("a"), lens=found[3])
    assert FrameReader(Event).feed(encode(told)) == [told]


def test_pooled_is_the_mean_over_members_with_an_interval_over_groups() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 50, 30)
    sums = rng.beta(2, 3, 30) * counts
    found = pooled(sums, counts)
    assert found.value == pytest.approx(sums.sum() / counts.sum())
    assert 0 < found.low < found.value < found.high < 1
    share = rng.random(12)
    same, means = pooled(share * 7, np.full(12, 7)), estimate(share)
    assert_allclose([same.value, same.low, same.high], [means.value, means.low, means.high])
    assert pooled([*sums, 0], [*counts, 0]) == found
    assert pooled([3, 9], [3, 9]) == estimate([1, 1])
    assert math.isnan(pooled([0], [0]).value)


@dataclass(frozen=True)
class Run:
    path: Path
    observed: Observations
    tokens: list[list[Token]]
    """Of each prompt."""


def run_engine(path: Path, tap: TapName) -> Run:
    """Three prompts, twelve tokens each."""
    tokens: list[list[Token]] = [[] for _ in PROMPTS]
    options = EngineOptions(str(path), context=128, slots=2, threads=1, tap=tap, lens=True, reproducible=True)
    with Engine(options) as one:
        requests = [Request(prompt_ids=ids, thinking=PLAIN, answer=PLAIN, seed=3, max_tokens=12, ignore_eos=True)
                    for ids in PROMPTS]

        def keep(event: Event) -> None:
            if isinstance(event, Token):
                tokens[event.request - 1].append(event)

        tallies = observe(one, requests, "all", 1, keep)  # type: ignore[arg-type]
        return Run(path, summarize(tallies, one.loaded.model.vocabulary), tokens)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModels(tmp_path_factory.mktemp("tiny"))("qwen3", head_type=F32, n_layer=5)


@pytest.fixture(scope="module", params=["auto", "reference"])
def ran(request: pytest.FixtureRequest, model: Path) -> Iterator[Run]:
    yield run_engine(model, request.param)


def witness(run: Run) -> NDArray[np.float64]:
    """Logits (2, N, L, V) without and with the norm where each token was chosen: hidden rows of a context without a
    tap, through NumPy's output head."""
    head, model = OutputHead(run.path), Model(run.path)
    params = context_params(128, 2, 64, 1, False)
    callback = Callback(params, range(1, model.n_layer + 1))
    context = Context(model, params)
    found: list[list[list[NDArray[np.float64]]]] = [[], []]
    for prompt, tokens in zip(PROMPTS, run.tokens, strict=True):
        context.forget(0)
        context.decode([Row(at, i, 0, False) for i, at in enumerate(prompt[:-1])])
        for i, at in enumerate([prompt[-1], *(one.id for one in tokens[:-1])], len(prompt) - 1):
            context.forget(1)  # a second row, as a reproducible engine has: one alone takes another kernel
            hidden = callback.truth(context, [Row(at, i, 0, True), Row(int(at == 0), 0, 1, True)]).hidden
            for norm in (0, 1):
                found[norm].append([head.logits(hidden[layer], bool(norm))[0] for layer in sorted(hidden)])
    context.close()
    model.close()
    return np.array(found)


def test_layers_are_what_numpy_makes_of_their_hidden_rows(ran: Run) -> None:
    logits = witness(ran)
    log_p = log_softmax(logits, -1)
    entropy = -(np.exp(log_p) * log_p).sum(-1)
    top1 = logits[1, :, -1].argmax(-1)
    own = np.take_along_axis(logits, top1[None, :, None, None], -1)
    rank = (logits > own).sum(-1)
    tokens = [one for each in ran.tokens for one in each]
    assert len(tokens) == 36
    lenses = [one.lens for one in tokens if one.lens is not None]
    assert_allclose([[one.entropy for one in lenses], [one.normed_entropy for one in lenses]], entropy,
                    atol=ENTROPY[F32])
    found = np.array([[one.rank for one in lenses], [one.normed_rank for one in lenses]])
    assert np.abs(found - rank).max() <= RANK[F32]
    for norm, curves in enumerate((ran.observed.raw, ran.observed.normed)):
        assert_allclose(values(curves.entropy), entropy[norm].mean(0) / math.log(logits.shape[-1]),
                        atol=ENTROPY[F32] / math.log(logits.shape[-1]))
        for k in KS:
            want = (rank[norm] < k).mean(0)
            if not GPU:
                assert_allclose(values(curves.coverage[k]), want, atol=1.01 / len(tokens))
    assert 0.05 < np.mean(rank[0] < 8) < 0.95, "the oracle tells nothing apart"


def test_the_last_layer_with_the_norm_is_the_models_output(ran: Run) -> None:
    assert [ran.observed.normed.coverage[k][-1].value for k in KS] == [1.0] * len(KS)
    for one in (one for each in ran.tokens for one in each):
        assert one.lens is not None and one.lens.normed_rank[-1] == 0
        assert one.lens.normed_entropy[-1] == pytest.approx(one.entropy, abs=ENTROPY[F32])


def test_the_lens_changes_no_token(model: Path) -> None:
    request = Request(prompt_ids=PROMPTS[0], seed=3, n=2, max_tokens=20)
    ids = []
    for lens in (False, True):
        with Engine(EngineOptions(str(model), context=128, slots=2, threads=1, lens=lens, reproducible=True)) as engine:
            events = list(engine.generate(request))
            ids.append([event.ids for event in events if isinstance(event, Finished)])
            assert all((event.lens is not None) == lens for event in events if isinstance(event, Token))
    assert ids[0] == ids[1]


@pytest.mark.parametrize("tap", ["auto", "none"])
def test_a_model_whose_layers_cannot_be_read_is_refused(tap: TapName, tmp_path: Path) -> None:
    path = TinyModels(tmp_path)(next(iter(UNTAPPABLE))) if tap == "auto" else DEMO
    with pytest.raises(TapRefused, match="needs intermediate layers"):
        Engine(EngineOptions(str(path), context=64, tap=tap, lens=True))
