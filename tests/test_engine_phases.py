"""Thinking and answer through the engine: markers, budgets, stop strings, parameters; ends that come from outside."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from tap_witness import cpu_only
from test_engine import DEMO, EASY, GREEDY, PUZZLES, Run, Runs, both, collect, drain, one, opened, puzzle, sampled
from tiny_models import END_THINK, TinyModels, tiny_model

from ledlocal import Engine
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Token
from ledlocal.values.params import Led, Message, Request, Sampling

PLAIN = Sampling("standard")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def demo() -> Iterator[Engine]:
    """The demo model: it opens its thoughts itself."""
    with opened(DEMO, slots=8, reproducible=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def thinker(models: TinyModels) -> Iterator[Engine]:
    """A random model whose template opens the thoughts."""
    with opened(models("qwen3"), slots=4) as engine:
        yield engine


def forced(tokens: list[Token]) -> list[int]:
    return [token.i for token in tokens if token.forced]


# ---- phases ----


def test_the_model_opens_and_closes_its_thoughts(demo: Engine) -> None:
    run = one(demo, puzzle(EASY, max_tokens=200, seed=3))
    phases = "".join("t" if token.phase == "thinking" else "a" for token in run.tokens)
    markers = [token.i for token in run.tokens if token.marker]
    start, end = markers
    assert phases == "a" * start + "t" * (end - start + 1) + "a" * (len(phases) - end - 1)
    assert all(run.tokens[i].text == "" for i in markers)
    assert run.end.finish == "stop"
    assert run.end.thinking_tokens == end - start + 1
    assert run.end.thinking_tokens + run.end.answer_tokens == len(run.ids)
    assert "yes" in run.end.thinking
    assert run.end.answer.endswith("=30")
    for phase, text in (("thinking", run.end.thinking), ("answer", run.end.answer)):
        assert "".join(token.text for token in run.tokens if token.phase == phase).strip() == text
        assert "think>" not in text


@pytest.mark.parametrize("words", ["</think>", "say </think> now", "a <think> b </think>\n"])
@pytest.mark.parametrize("role", ["user", "system"])
def test_markers_in_the_words_of_others_move_nothing(thinker: Engine, role: str, words: str) -> None:
    told = Message("system", words if role == "system" else "be brief")
    asked = Message("user", words if role == "user" else "why")
    run = one(thinker, Request(messages=(told, asked), max_tokens=3, ignore_eos=True))
    assert run.tokens[0].phase == "thinking"
    assert run.started is not None
    assert END_THINK not in run.started.prompt_ids


@pytest.mark.parametrize("words", ["<think>", "Use 2, 3, 8 and 10 to make 13.<think>\n"])
def test_a_start_marker_in_the_question_opens_nothing(demo: Engine, words: str) -> None:
    run = one(demo, Request(messages=(Message("user", words),), max_tokens=1, ignore_eos=True))
    # an average over tokens drawn while thinking: there is none, though this one may open the thoughts
    assert run.end.led.mean_confidence is None


def test_raw_prompts_count_their_own_markers(thinker: Engine) -> None:
    for prompt, phase in (("<think>", "thinking"), ("<think>a</think>", "answer"), ("a", "answer")):
        assert one(thinker, Request(prompt=prompt, max_tokens=1, ignore_eos=True)).tokens[0].phase == phase


def test_without_thinking_nothing_is_in_scope(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "plain.gguf", "llama", chat_template=None)
    with opened(path, slots=2, think_tags=None) as engine:
        run = one(engine, Request(prompt="the", max_tokens=40, ignore_eos=True,
                                  **both(Sampling("led", temperature=1.0))))
        assert {token.phase for token in run.tokens} == {"answer"}
        assert not any(token.explored for token in run.tokens)
        everywhere = Sampling("led", temperature=1.0, led=Led(scope="all"))
        run = one(engine, Request(prompt="the", max_tokens=40, ignore_eos=True, **both(everywhere)))
        assert sum(token.explored for token in run.tokens) > 5
        assert {token.phase for token in run.tokens} == {"answer"}


def test_messages_need_a_template(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "plain.gguf", "llama", chat_template=None)
    said = r"plain\.gguf has no chat template; give one with --chat-template-file$"
    with opened(path, slots=1, think_tags=None) as engine, pytest.raises(BadInput, match=said):
        engine.submit(Request(messages=(Message("user", "Hi"),)))


# ---- parameters of a phase ----


def test_greedy_answers_follow_from_their_thoughts(demo: Engine) -> None:
    hot = Sampling("led", temperature=1.0)
    runs = sampled(demo, puzzle(EASY, n=32, max_tokens=90, seed=1, thinking=hot, answer=GREEDY))
    answers = defaultdict(set)
    for run in runs:
        if run.end.finish == "stop":
            answers[run.end.thinking].add(run.end.answer)
    assert len(answers) > 5
    assert all(len(same) == 1 for same in answers.values())
    assert sum(run.end.led.explored for run in runs) > 5


def test_an_answer_is_drawn_with_its_own_temperature(demo: Engine) -> None:
    prompt = f"<|im_start|>user\n{PUZZLES[EASY]}<|im_end|>\n<|im_start|>assistant\n<think>\n"
    hot = Sampling("standard", temperature=5.0, top_p=1.0)
    a, b = (sampled(demo, Request(prompt=prompt, n=8, max_tokens=90, seed=4, answer=answer))
            for answer in (GREEDY, hot))
    ended = [(x.end, y.end) for x, y in zip(a, b, strict=True) if x.end.finish == "stop"]
    assert len(ended) > 4
    for x, y in ended:
        assert x.thinking == y.thinking
        assert x.ids[:x.thinking_tokens] == y.ids[:x.thinking_tokens]
        assert x.answer != y.answer


def test_mixed_temperatures_and_methods_in_one_batch_equal_alone(demo: Engine) -> None:
    samplings = [Sampling("led", temperature=1.0), GREEDY, Sampling("control", temperature=0.3),
                 Sampling("standard", temperature=1.5, top_k=5), Sampling("led", led=Led(d=3, k=4, norm=True)),
                 Sampling("standard", temperature=0.9, order="paper")]
    requests = [puzzle(i % 3, max_tokens=40, seed=i, thinking=sampling, answer=samplings[-1 - i])
                for i, sampling in enumerate(samplings)]
    alone = [one(demo, request).ids for request in requests]
    numbers = [demo.submit(request) for request in requests]
    runs = drain(demo)
    assert [runs[number, 0].ids for number in numbers] == alone


# ---- stop strings, budgets ----


def test_stop_strings_end_answers_only(demo: Engine) -> None:
    request = puzzle(EASY, max_tokens=200, seed=3)
    whole = one(demo, request).end
    stopped = one(demo, puzzle(EASY, max_tokens=200, seed=3, stop=("=", "yes"))).end
    assert whole.thinking.count("=") >= 3
    assert "yes" in whole.thinking
    assert stopped.thinking == whole.thinking
    assert (stopped.finish, stopped.reason) == ("stop", "a stop string matched")
    assert stopped.answer == whole.answer.partition("=")[0]
    assert len(stopped.ids) < len(whole.ids)


@pytest.mark.parametrize("budget", [0, 1, 7])
def test_a_budget_forces_the_answer(demo: Engine, budget: int) -> None:
    run = one(demo, puzzle(max_tokens=200, seed=3, reasoning_budget=budget))
    thoughts = [token for token in run.tokens if token.phase == "thinking"]
    first = next(i for i, token in enumerate(thoughts) if token.forced)
    assert first == budget + 1  # the start marker, which the model wrote itself, is not on the budget
    assert all(token.forced for token in thoughts[first:])
    assert thoughts[-1].marker
    assert not any(token.explored for token in run.tokens if token.forced)
    assert run.end.answer
    assert run.end.thinking_tokens == len(thoughts)
    assert forced(run.tokens) == list(range(thoughts[first].i, thoughts[-1].i + 1))


def test_a_budget_of_nothing_where_the_template_opens_the_thoughts(thinker: Engine) -> None:
    run = one(thinker, Request(messages=(Message("user", "why"),), reasoning_budget=0, max_tokens=12,
                               ignore_eos=True))
    ids = run.ids[:run.ids.index(END_THINK) + 1]
    assert all(token.forced for token in run.tokens[:len(ids)])
    assert run.tokens[len(ids) - 1].marker
    assert run.tokens[len(ids)].phase == "answer"
    assert run.end.thinking == ""


def test_answer_now(demo: Engine) -> None:
    number = demo.submit(puzzle(max_tokens=200, seed=3))
    other = demo.submit(puzzle(max_tokens=30, seed=3))
    runs: Runs = defaultdict(Run)
    while len(runs[number, 0].tokens) < 10:
        collect(demo.step(), runs)
    demo.answer_now(number)
    drain(demo, runs)
    tokens = runs[number, 0].tokens
    assert forced(tokens)[0] == 10
    assert tokens[forced(tokens)[-1]].marker
    assert runs[number, 0].end.answer
    assert not forced(runs[other, 0].tokens)


def test_answer_now_is_for_good(thinker: Engine) -> None:
    """A model that begins to think again is ended again."""
    way = Sampling("standard", temperature=100, top_k=0, top_p=1)  # a random model writes any marker sooner or later
    request = Request(messages=(Message("user", "why"),), max_tokens=1500, ignore_eos=True, thinking=way, answer=way)
    runs: Runs = defaultdict(Run)
    number = thinker.submit(request)
    while len(runs[number, 0].tokens) < 5:
        collect(thinker.step(), runs)
    thinker.answer_now(number)
    drain(thinker, runs)
    tokens = runs[number, 0].tokens
    begun = [token.i for token in tokens[5:] if token.marker and not token.forced and token.phase == "thinking"]
    assert begun, "it never began to think again: nothing is shown"
    for i in begun:
        if i + 1 < len(tokens):
            assert tokens[i + 1].forced or tokens[i].id == END_THINK
    assert sum(token.phase == "thinking" for token in tokens[5:]) <= 2 * len(begun) + 2


# ---- cancelled, broken ----


def test_cancelled_in_the_middle_of_a_long_prefill(models: TinyModels) -> None:
    path = models("qwen3", n_layer=12, n_embd=256, n_head=4)
    long = Request(prompt_ids=tuple(np.random.default_rng(0).integers(0, 256, 2000).tolist()), max_tokens=2,
                   **both(PLAIN))
    with opened(path, context=2048, batch=2048) as engine:
        whole = one(engine, long).started
        assert whole is not None
        number = engine.submit(Request(prompt_ids=long.prompt_ids[::-1] if long.prompt_ids else (), max_tokens=2,
                                       **both(PLAIN)))
        cancelled_at = []

        def cancel() -> None:
            time.sleep(whole.prefill_s / 10)
            cancelled_at.append(time.perf_counter())
            engine.cancel(number)

        thread = threading.Thread(target=cancel)
        thread.start()
        runs = drain(engine)
        took = time.perf_counter() - cancelled_at[0]
        thread.join()
        assert took < whole.prefill_s / 2
        assert (runs[number, 0].end.finish, runs[number, 0].ids) == ("cancelled", ())
        again = one(engine, long)
        assert (again.end.finish, len(again.ids)) == ("length", 2)


def test_cancelled_in_the_queue_and_in_a_slot(demo: Engine) -> None:
    running = demo.submit(puzzle(n=7, max_tokens=40, seed=1))
    doomed = demo.submit(puzzle(1, n=3, max_tokens=40, seed=2))
    runs: Runs = defaultdict(Run)
    for _ in range(9):
        collect(demo.step(), runs)
    demo.cancel(doomed)
    demo.cancel(10**9)
    drain(demo, runs)
    assert [runs[doomed, i].end.finish for i in range(3)] == ["cancelled"] * 3
    assert runs[doomed, 0].ids
    assert runs[doomed, 2].ids == ()
    assert [runs[running, i].ids for i in range(7)] == [
        run.ids for run in sampled(demo, puzzle(n=7, max_tokens=40, seed=1))]


def test_one_sample_cancelled_in_a_slot_and_one_in_the_queue(demo: Engine) -> None:
    """The others of the request say what they would have said."""
    number = demo.submit(puzzle(n=9, max_tokens=40, seed=1))
    runs: Runs = defaultdict(Run)
    for _ in range(9):
        collect(demo.step(), runs)
    slots = demo.loaded.model.slots
    assert slots < 9 and runs[number, 1].ids
    for sample in (1, 8, 77):
        demo.cancel(number, sample)
    drain(demo, runs)
    assert [i for i in range(9) if runs[number, i].end.finish == "cancelled"] == [1, 8]
    assert runs[number, 8].ids == ()
    whole = sampled(demo, puzzle(n=9, max_tokens=40, seed=1))
    assert all(runs[number, i].ids == whole[i].ids for i in range(9) if i not in (1, 8))


def test_closing_a_stream_early_cancels(demo: Engine) -> None:
    for event in demo.generate(puzzle(n=3, max_tokens=100)):
        if isinstance(event, Token):
            break
    assert not demo.busy
    assert one(demo, puzzle(max_tokens=5)).end.finish == "length"


@pytest.mark.parametrize("reproducible", [True, pytest.param(False, marks=cpu_only)])
@pytest.mark.parametrize("tap", ["auto", "none"])
def test_logits_that_are_no_numbers(tmp_path: Path, tap: str, reproducible: bool) -> None:
    """One token's embedding is NaN: whoever reads it ends, its neighbours and successors do not notice."""
    path = tiny_model(tmp_path / "nan.gguf", "qwen3")
    sound = Request(prompt="hello", max_tokens=12, ignore_eos=True, **both(GREEDY))
    with opened(path, slots=2, tap=tap, reproducible=reproducible) as engine:
        wanted = one(engine, sound).ids
    reader = GGUFReader(path, "r+")
    [embedding] = [tensor for tensor in reader.tensors if tensor.name == "token_embd.weight"]
    embedding.data[ord("Z")] = np.nan
    embedding.data.flush()
    with opened(path, slots=2, tap=tap, reproducible=reproducible) as engine:
        neighbour = engine.submit(sound)
        broken = engine.submit(Request(prompt="aZb", max_tokens=12, **both(PLAIN)))
        runs = drain(engine)
        assert runs[broken, 0].end.finish == "invalid"
        assert "not finite at position 2" in runs[broken, 0].end.reason
        assert runs[broken, 0].ids == ()
        assert runs[neighbour, 0].ids == wanted
        assert [run.ids for run in sampled(engine, Request(prompt="hello", max_tokens=12, ignore_eos=True, n=2,
                                                           **both(GREEDY)))] == [wanted] * 2
