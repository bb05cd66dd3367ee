"""Which texts open and close a model's thinking, and where a prompt leaves it: found by rendering the chat template.

Conversations with known words in them are rendered under every known switch; what stands around the words tells the
markers (the idea of llama.cpp's chat-diff-analyzer.cpp), and the end of the prompt tells the phase (mlx_lm's comparison
of the last start with the last end). User text is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from ledlocal.methods.thinking import InitialPhase
from ledlocal.runtime.template import ChatTemplate, Job, TemplateFailure, render
from ledlocal.values.params import Reasoning

Found = Literal["render", "source", "vocabulary", "flag"]


@dataclass(frozen=True, slots=True)
class Markers:
    """The texts that open and close thinking. More than one may do either."""

    starts: tuple[str, ...]
    """The usual one first. Empty: the turn itself opens thinking (Apriel)."""
    ends: tuple[str, ...]
    """The usual one first; others are what a model writes instead: the opening of the answer or of a tool call."""
    closer: str
    """Text that shows in a prompt that thinking is closed."""
    force: str
    """Text to append to end thinking; contains one of `ends`."""
    found: Found

    @property
    def start(self) -> str | None:
        """The usual start marker."""
        return self.starts[0] if self.starts else None


@dataclass(frozen=True, slots=True)
class ThinkingFormat:
    """How one template thinks under one setting of `reasoning`."""

    markers: Markers
    phase: InitialPhase
    """Where the generation prompt leaves the model."""
    kwargs: dict[str, Any] = field(hash=False)
    """Switches to pass when rendering real prompts."""


def pair(start: str | None, end: str, found: Found) -> Markers:
    """Markers that are just a start and an end."""
    return Markers((start,) if start else (), (end,), end, end, found)


KNOWN: tuple[tuple[str | None, str], ...] = (
    ("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"), ("<mm:think>", "</mm:think>"),
    ("<|channel>thought", "<channel|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"), ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("◁think▷", "◁/think▷"), ("<longcat_think>", "</longcat_think>"), (None, "[BEGIN FINAL RESPONSE]"),
)
"""Pairs in use, for templates that never render a thought; a start of None is opened by the turn itself."""

_TAG = r"<[^<>\s\"'{}]+>|\[/?[A-Z][A-Z _]+\]|◁[^◁▷\s]+▷"
_USER, _THOUGHT, _ANSWER, _TOOL = "Userwords", "Thoughtwords", "Answerwords", "toolname"
_ASK = {"role": "user", "content": _USER}
_THOUGHTS = dict.fromkeys(("reasoning_content", "reasoning", "thinking"), _THOUGHT)
_CALL = {"id": "call00001", "type": "function", "function": {"name": _TOOL, "arguments": {"x": 1}}}
_TURNS: tuple[dict[str, Any], ...] = (
    {"content": _ANSWER, **_THOUGHTS},
    {"content": [{"type": "thinking", "thinking": _THOUGHT}, {"type": "text", "text": _ANSWER}]},
    {"content": {"blocks": [{"type": "thoughts", "text": _THOUGHT}, {"type": "response", "text": _ANSWER}]}},
    {"content": "", "tool_calls": [_CALL], **_THOUGHTS},
    {"content": _ANSWER},
)
"""Assistant turns: thoughts as fields, as blocks (Mistral, Apertus), before a tool call, none."""

_ON: dict[str, Any] = {"enable_thinking": True, "thinking": True, "reasoning": True, "thinking_mode": "enabled"}
_OFF: dict[str, Any] = {"enable_thinking": False, "thinking": False, "reasoning": False, "thinking_mode": "disabled"}
_EFFORT_ON, _EFFORT_OFF = ("high",), ("none", "no_think", "minimal", "low")


@dataclass(frozen=True)
class _Survey:
    """What a template rendered: prompts by switches, and assistant turns with thinking on, None where it refused."""

    on: tuple[tuple[dict[str, Any], str], ...]
    """Switches that may turn thinking on, mildest first and none last, and the prompt they give."""
    off: tuple[tuple[dict[str, Any], str], ...]
    turns: tuple[str | None, ...]
    """From the end of the user's words on, one per `_TURNS`."""


def _switches(source: str, common: dict[str, Any], efforts: tuple[str, ...]) -> list[dict[str, Any]]:
    """The switches that `source` names; an effort only where it also quotes that value, for others may be refused."""
    named = {k: v for k, v in common.items() if re.search(rf"(?<![.\w'\"]){k}\b", source)}
    quoted = [e for e in efforts if "reasoning_effort" in source and re.search(rf"['\"]{e}['\"]", source)]
    return [named, *({**named, "reasoning_effort": e} for e in quoted)]


@lru_cache(maxsize=8)
def _survey(template: ChatTemplate) -> _Survey:
    """Render everything that any question needs, in one child."""
    on = _switches(template.text, _ON, _EFFORT_ON)
    off = _switches(template.text, _OFF, _EFFORT_OFF)
    if re.search(r"\bthinking_budget\b", template.text):
        off.append({**off[0], "thinking_budget": 0})
    jobs = [Job([_ASK], k) for k in (*on, {}, *off)]
    jobs += [Job([_ASK, {"role": "assistant", **turn}], on[-1], False) for turn in _TURNS]
    results = render(template, jobs)
    prompts, turns = results[:-len(_TURNS)], results[-len(_TURNS):]
    failures = [p.cause for p in prompts if isinstance(p, TemplateFailure)]
    if len(failures) == len(prompts):
        raise template.refuse(failures[0])
    if not any(isinstance(p, str) and _USER in p for p in prompts):
        raise template.refuse("it ignores the user's message")

    given = [(job.kwargs, p) if isinstance(p, str) and _USER in p else None
             for job, p in zip(jobs, prompts, strict=False)]
    bare = len(on)
    return _Survey(tuple(g for g in given[:bare + 1] if g), tuple(g for g in (*given[bare + 1:], given[bare]) if g),
                   tuple(_after_user(t) if isinstance(t, str) else None for t in turns))


def _after_user(text: str) -> str:
    return text.rpartition(_USER)[2]


def find_markers(template: ChatTemplate) -> Markers | None:
    """The markers that a template shows; None if it shows none (it may still be a thinking model's template).

    Raises BadInput if the template cannot render one question, or ignores it.
    """
    survey = _survey(template)
    whole = [p for _, p in (*survey.on, *survey.off)]
    prompts = [_after_user(p) for p in whole]
    for turn in survey.turns:
        if turn and _THOUGHT in turn and (found := _from_turn(turn, survey, prompts)):
            return found
    # A turn that shows no thoughts: the generation prompt may open or close them, or the instructions name the markers.
    for start, end in KNOWN:
        if any((start or end) in p for p in prompts):
            return _with_openers(pair(start, end, "render"), survey)
    source = re.sub(r"\{#.*?#\}", "", template.text, flags=re.DOTALL)
    for text in (whole[0].partition(_USER)[0], source):
        for start, end in KNOWN:
            if end in text and (start is None or start in text):
                return _with_openers(pair(start, end, "source"), survey)
    return None


def _from_turn(turn: str, survey: _Survey, prompts: Sequence[str]) -> Markers | None:
    """Read the markers around the thought of a rendered turn; `before` and `between` are the text on either side."""
    before, _, rest = turn.partition(_THOUGHT)
    between = re.split(f"{_ANSWER}|{_TOOL}", rest, maxsplit=1)[0]
    if _ANSWER in rest and (found := _from_channels(before, between, prompts)):
        return found
    for start, end in KNOWN:
        if start and start in before and between.lstrip().startswith(end):
            return _with_openers(_closed_by(start, end, between), survey)
    closing = re.match(_TAG, between.lstrip())
    if closing is None:
        return None
    opening = re.search(rf"({_TAG})\s*$", before)
    plain = survey.turns[-1] or ""
    # The last tag before a thought belongs to the turn, not to the thought, if plain answers follow it too.
    own = opening is not None and not plain.partition(_ANSWER)[0].rstrip().endswith(opening.group(1))
    start = opening.group(1) if opening and own else None
    if start is None and _ANSWER not in rest:
        return None
    return _with_openers(_closed_by(start, closing.group(), between), survey)


def _closed_by(start: str | None, end: str, between: str) -> Markers:
    """An inline pair: thoughts stand in the answer's own message. A forced end keeps the template's space before it."""
    return Markers((start,) if start else (), (end,), end, between[:between.index(end) + len(end)], "render")


def _from_channels(before: str, between: str, prompts: Sequence[str]) -> Markers | None:
    """Markers where thoughts are messages of their own (gpt-oss, Solar, Muse): the answer repeats the turn's header.

    The header is the end of the generation prompt, a tag and a role. Thinking ends when the answer's message opens.
    """
    ends = [m.group() for p in prompts if (m := re.search(r"<[^<>]+>\s*\w[^<>]*$", p))]
    header = next((h for h in ends if h in before and h in between), None)
    if header is None:
        return None
    start = before.rpartition(header)[2]
    closer, _, answer = between.partition(header)
    if not start.strip() or not answer.strip():
        return None
    return Markers((start, closer + header + start), (closer + header + answer, header + answer, answer), closer,
                   closer + header + answer, "render")


def _with_openers(markers: Markers, survey: _Survey) -> Markers:
    """Add what may stand right behind the end: some models open an answer or a tool call without closing thinking."""
    openers: list[str] = []
    for turn in survey.turns[:-1]:
        if turn is None or markers.closer not in turn:
            continue
        head, _, rest = turn.rpartition(markers.closer)
        is_call = _ANSWER not in rest
        if is_call and _TOOL not in rest:
            continue
        between = re.split(f"{_ANSWER}|{_TOOL}", rest, maxsplit=1)[0].strip()
        tag = re.match(_TAG, between)
        opener = (tag.group() if tag else "") if is_call else between
        used = (*markers.starts, *markers.ends, *openers)
        if re.match(_TAG, opener) and not any(opener in u for u in used) and opener not in head:
            openers.append(opener)
    return Markers(markers.starts, (*markers.ends, *openers), markers.closer, markers.force, markers.found)


def markers_from_vocabulary(is_token: Callable[[str], bool]) -> Markers | None:
    """The known pair of which both texts are single tokens: a model whose template is silent may still think.

    Its prompt never opens thinking, so nothing happens unless the model itself writes the start marker.
    """
    known = [(start, end) for start, end in KNOWN if start and is_token(start) and is_token(end)]
    return pair(*known[0], "vocabulary") if known else None


def markers_from_tags(start: str, end: str) -> Markers:
    """The user's own pair (`--think-tags`); an empty start means that the turn itself opens thinking."""
    return pair(start or None, end, "flag")


def phase_of(prompt_end: str, markers: Markers) -> InitialPhase:
    """Where the end of a prompt, behind the last message, leaves the model."""
    opened = max((prompt_end.rfind(s) for s in markers.starts), default=0)
    # A closer that ends every message (gpt-oss) closes nothing unless thinking was opened.
    closers = (*markers.ends, markers.closer) if opened >= 0 else markers.ends
    closed = max(prompt_end.rfind(e) for e in closers)
    if opened > closed:
        return "open"
    return "closed" if closed >= 0 else "unopened"


def thinking_of(template: ChatTemplate, reasoning: Reasoning, markers: Markers | None = None) -> ThinkingFormat | None:
    """How the template thinks with `reasoning` on, off or auto (on, where there is a switch).

    `markers` override what the template shows (from `--think-tags`, or the vocabulary where the template is silent).
    None: no thinking phase is known. A template without a switch ignores `reasoning`: look at `phase`.
    Raises BadInput if the template cannot render one question, or ignores it.
    """
    markers = markers or find_markers(template)
    if markers is None:
        return None
    survey = _survey(template)
    on, off = ([(k, p, phase_of(_after_user(p), markers)) for k, p in s] for s in (survey.on, survey.off))
    if not on or not off:
        raise template.refuse(f"it cannot be rendered with thinking {'off' if on else 'on'}")
    mildest = on[0][1]
    chosen = next((o for o in off if o[2] == "closed"),
                  next((o for o in off if o[2] != "open" and o[1] != mildest), off[0]))
    if reasoning != "off":
        quiet = chosen[1]
        chosen = next((o for o in on if o[2] == "open"),
                      next((o for o in on if o[2] != "closed" and o[1] != quiet), on[0]))
    return ThinkingFormat(markers, chosen[2], chosen[0])
