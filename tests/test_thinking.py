from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledlocal.methods.thinking import InitialPhase, Step, ThinkingTracker

OPEN, CLOSE, TOOL = 100, 101, 102


def follow(tracker: ThinkingTracker, tokens: list[int]) -> list[tuple[str, int]]:
    """(phase, marker length) of every token."""
    return [(step.phase, step.marker_length) for step in map(tracker.push, tokens)]


def phases(tracker: ThinkingTracker, tokens: list[int]) -> str:
    """One letter per token, capital where a marker is complete, and one for the token after them."""
    letters = ""
    for token in tokens:
        step = tracker.push(token)
        letters += step.phase[0].upper() if step.marker else step.phase[0]
    return letters + tracker.phase[0]


def test_the_model_opens_and_closes() -> None:
    tracker = ThinkingTracker([[OPEN]], [[CLOSE], [TOOL]], "unopened")
    assert phases(tracker, [OPEN, 1, 2, CLOSE, 3, 4]) == "AttTaaa"
    assert tracker.count == 3


def test_the_prompt_opened() -> None:
    tracker = ThinkingTracker([[OPEN]], [[CLOSE], [TOOL]], "open")
    assert phases(tracker, [1, OPEN, 2, TOOL, 3]) == "tTtTaa"  # a second start inside changes nothing
    assert tracker.count == 4


def test_thinking_opens_again() -> None:
    tracker = ThinkingTracker([[OPEN]], [[CLOSE]], "open")
    assert phases(tracker, [1, CLOSE, 2, OPEN, 3, CLOSE, 4]) == "tTaAtTaa"
    assert tracker.count == 4


def test_an_end_in_the_middle_of_an_answer_is_text() -> None:
    tracker = ThinkingTracker([[OPEN]], [[CLOSE]], "closed")
    assert phases(tracker, [CLOSE, CLOSE, 1, CLOSE, 2]) == "AAaaaa"
    assert tracker.count == 0


def test_no_thinking_at_all() -> None:
    tracker = ThinkingTracker([], [], "closed")
    assert follow(tracker, [1, 2]) == [("answer", 0), ("answer", 0)]
    assert (tracker.pending, tracker.force(), tracker.count) == (0, (), 0)


def test_a_marker_of_several_tokens_is_held_back_until_it_is_decided() -> None:
    tracker = ThinkingTracker([[1, 2, 3]], [[4, 4, 5]], "unopened")
    held = []
    steps = []
    for token in [1, 2, 1, 2, 3, 4, 4, 4, 5, 9]:
        steps.append(tracker.push(token))
        held.append(tracker.pending)
    assert held == [1, 2, 1, 2, 0, 1, 2, 2, 0, 0]
    assert [s.marker_length for s in steps] == [0, 0, 0, 0, 3, 0, 0, 0, 3, 0]
    assert steps[4] == Step("answer", 3) and steps[8] == Step("thinking", 3)
    assert tracker.count == 4


START, ASSISTANT, CHANNEL, ANALYSIS, FINAL, MESSAGE, END = range(200, 207)


def gpt_oss() -> ThinkingTracker:
    answer = [CHANNEL, FINAL, MESSAGE]
    analysis = [CHANNEL, ANALYSIS, MESSAGE]
    again = [END, START, ASSISTANT]
    ends = [again + answer, [START, ASSISTANT, *answer], answer]
    return ThinkingTracker([analysis, again + analysis], ends, "unopened")


def test_gpt_oss_thinks_in_several_messages() -> None:
    tracker = gpt_oss()
    tokens = [CHANNEL, ANALYSIS, MESSAGE, 1, 2, END, START, ASSISTANT, CHANNEL, ANALYSIS, MESSAGE, 3,
              END, START, ASSISTANT, CHANNEL, FINAL, MESSAGE, 4]
    steps = follow(tracker, tokens)
    assert [i for i, (phase, _) in enumerate(steps) if phase == "thinking"] == list(range(3, 18))
    assert {i: length for i, (_, length) in enumerate(steps) if length} == {2: 3, 10: 6, 17: 6}
    assert tracker.phase == "answer" and tracker.count == 15


def test_gpt_oss_answers_at_once() -> None:
    assert follow(gpt_oss(), [CHANNEL, FINAL, MESSAGE, 4])[2:] == [("answer", 3), ("answer", 0)]


def test_gpt_oss_is_forced_from_where_it_stands() -> None:
    whole = (END, START, ASSISTANT, CHANNEL, FINAL, MESSAGE)
    for written in range(5):
        tracker = gpt_oss()
        for token in [CHANNEL, ANALYSIS, MESSAGE, 1, *whole[:written]]:
            tracker.push(token)
        assert tracker.force() == whole[written:]
        for token in tracker.force():
            tracker.push(token)
        assert tracker.phase == "answer" and tracker.force() == ()


def test_forced_text_may_lead_up_to_the_end_and_go_on_behind_it() -> None:
    newline = 10
    tracker = ThinkingTracker([[OPEN]], [[CLOSE]], "open", force=[newline, CLOSE, newline])
    assert tracker.force() == (newline, CLOSE, newline)
    tracker.push(newline)
    assert tracker.force() == (CLOSE, newline)
    assert phases(tracker, [CLOSE, newline]) == "Taa"


@pytest.mark.parametrize(("starts", "ends", "phase", "force", "why"), [
    ([[OPEN]], [], "unopened", None, "needs an end"),
    ([], [], "open", None, "needs an end"),
    ([[]], [[1]], "open", None, "empty"),
    ([[OPEN]], [[1], []], "open", None, "empty"),
    ([[OPEN]], [[CLOSE, 2]], "open", [CLOSE], "no end marker"),
])
def test_markers_that_cannot_work(starts: list[list[int]], ends: list[list[int]], phase: InitialPhase,
                                  force: list[int] | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ThinkingTracker(starts, ends, phase, force)


def test_markers_spelled_in_bytes_find_tokens_that_merged() -> None:
    pieces = [b"<", b"think", b">\n", b"So", b".</", b"think", b">", b"\n\n", b"Four", b"></", b"<think></think>!"]
    tracker = ThinkingTracker([b"<think>"], [b"</think>"], "unopened", [4, 5, 6], pieces.__getitem__)
    steps = follow(tracker, [0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert steps == [("answer", 0), ("answer", 0), ("answer", 3), ("thinking", 0), ("thinking", 0), ("thinking", 0),
                     ("thinking", 3), ("answer", 0), ("answer", 0)]
    assert follow(tracker, [0, 1, 9, 5, 2, 8])[2:] == [("answer", 3), ("thinking", 0), ("thinking", 2), ("answer", 0)]
    assert follow(tracker, [10, 8]) == [("answer", 1), ("answer", 0)] and tracker.pending == 0
    with pytest.raises(ValueError, match="force"):
        ThinkingTracker([b"<think>"], [b"</think>"], "unopened", None, pieces.__getitem__)


class Oracle:
    """The rules said over the whole history: at every token look for all markers in what no marker has taken yet."""

    def __init__(self, starts: list[list[int]], ends: list[list[int]], phase: InitialPhase) -> None:
        self.starts, self.ends = starts, ends
        self.thinking, self.free, self.count = phase == "open", "", 0

    def push(self, token: int) -> tuple[str, int]:
        was = "thinking" if self.thinking else "answer"
        self.count += self.thinking
        self.free += chr(token)
        starts = [len(m) for m in self.starts if self.free.endswith(text(m))]
        ends = [len(m) for m in self.ends if self.free.endswith(text(m)) and (self.thinking or self.free == text(m))]
        if not starts and not ends:
            return was, 0
        self.free = ""
        self.thinking = max(starts, default=0) >= max(ends, default=0)
        return was, max(starts + ends)

    def pending(self) -> int:
        markers = [text(m) for m in self.starts + self.ends]
        tails = [self.free[i:] for i in range(len(self.free))]
        return max((len(t) for t in tails for m in markers if m != t and m.startswith(t)), default=0)


def text(tokens: list[int]) -> str:
    return "".join(map(chr, tokens))


letters = st.integers(97, 99)
markers = st.lists(st.lists(letters, min_size=1, max_size=4), min_size=1, max_size=3)


@settings(max_examples=500, deadline=None)
@given(markers, markers, st.sampled_from(["open", "closed", "unopened"]), st.lists(letters, max_size=60))
def test_equals_a_search_in_the_history(starts: list[list[int]], ends: list[list[int]], phase: InitialPhase,
                                        tokens: list[int]) -> None:
    tracker, oracle = ThinkingTracker(starts, ends, phase), Oracle(starts, ends, phase)
    held = [0]
    for token in tokens:
        step = tracker.push(token)
        assert (step.phase, step.marker_length) == oracle.push(token)
        assert (tracker.phase == "thinking", tracker.count) == (oracle.thinking, oracle.count)
        assert tracker.pending == oracle.pending()
        assert step.marker_length <= held[-1] + 1  # a display that holds back `pending` tokens never shows a marker
        held.append(tracker.pending)
    assert all(after <= before + 1 for before, after in pairwise(held))


def words(alphabet: str) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.sampled_from(alphabet).map(ord), min_size=1, max_size=4), min_size=1, max_size=3)


@settings(max_examples=500, deadline=None)
@given(words("ab"), words("cd"), st.lists(st.sampled_from("abcde").map(ord), max_size=30), st.integers(0, 2))
def test_a_forced_end_ends_it_from_anywhere(starts: list[list[int]], ends: list[list[int]], tokens: list[int],
                                            lead: int) -> None:
    force = [ord("e")] * lead + ends[0]
    tracker = ThinkingTracker(starts, ends, "open", force)
    for token in tokens:
        tracker.push(token)
    thinking = tracker.phase == "thinking"
    forced = list(tracker.force())
    assert bool(forced) == thinking
    if thinking:
        written = len(force) - len(forced)
        assert forced == force[written:] and tokens[len(tokens) - written:] == force[:written]
    for token in forced:
        tracker.push(token)
    assert tracker.phase == "answer"


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 12))
def test_a_budget_ends_thinking_on_its_token(tokens: list[int], budget: int) -> None:
    tracker = ThinkingTracker([[OPEN]], [[10, CLOSE]], "unopened")
    tracker.push(OPEN)
    for token in tokens:
        if tracker.count >= budget:
            break
        tracker.push(token)
    assert tracker.count == min(budget, len(tokens))
    assert [tracker.push(t).phase for t in tracker.force()] == ["thinking", "thinking"]
    assert tracker.phase == "answer" and tracker.count == min(budget, len(tokens)) + 2
