"""Thinking markers of every template that llama.cpp ships, against a table written by reading the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledlocal.methods.thinking import InitialPhase
from ledlocal.runtime.markers import (
    Found,
    find_markers,
    markers_from_tags,
    markers_from_vocabulary,
    phase_of,
    thinking_of,
)
from ledlocal.runtime.template import ChatTemplate, Job, render_one
from ledlocal.values.errors import BadInput
from ledlocal.values.params import Reasoning

OPEN: InitialPhase = "open"
CLOSED: InitialPhase = "closed"
UNOPENED: InitialPhase = "unopened"


@dataclass(frozen=True)
class Expected:
    """What a template should give: markers, the phase its prompt leaves with thinking on and off, how it was found."""

    start: str | None
    ends: tuple[str, ...]
    on: InitialPhase
    off: InitialPhase
    found: Found = "render"


def think(on: InitialPhase, off: InitialPhase, *more: str, found: Found = "render") -> Expected:
    return Expected("<think>", ("</think>", *more), on, off, found)


CALL = "<tool_call>"
GEMMA = Expected("<|channel>thought", ("<channel|>", "<|tool_call>"), UNOPENED, CLOSED)

THINKING = {
    "Apertus-8B-Instruct": Expected("<|inner_prefix|>", ("<|inner_suffix|>",), UNOPENED, UNOPENED),
    # The turn opens thinking; nothing turns it off.
    "Apriel-1.6-15b-Thinker-fixed": Expected(None, ("[BEGIN FINAL RESPONSE]", "<tool_calls>"), OPEN, OPEN),
    "Bielik-11B-v3.0-Instruct": think(OPEN, UNOPENED, CALL),
    "ByteDance-Seed-OSS": Expected("<seed:think>", ("</seed:think>", "<seed:tool_call>"), UNOPENED, CLOSED),
    "Cohere2MoE": Expected(
        "<|START_THINKING|>", ("<|END_THINKING|>", "<|START_TEXT|>", "<|START_ACTION|>"), OPEN, CLOSED),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": Expected(
        "<|START_THINKING|>", ("<|END_THINKING|>", "<|START_ACTION|>"), UNOPENED, CLOSED),
    "GLM-4.6": think(UNOPENED, CLOSED, CALL),
    "GLM-4.7-Flash": think(OPEN, CLOSED, CALL),
    "HuggingFaceTB-SmolLM3-3B": think(UNOPENED, CLOSED),
    # Its tool calls need a list to be changed, which no sandbox allows, so <|tool_calls_section_begin|> stays unseen.
    "Kimi-K2-Thinking": think(UNOPENED, UNOPENED, found="source"),
    "Kimi-K3": Expected(
        "<|open|>think<|sep|>", ("<|close|>think<|sep|>", "<|open|>response<|sep|>"), OPEN, CLOSED),
    "LFM2.5-8B-A1B": think(UNOPENED, UNOPENED, "<|tool_call_start|>"),
    "MiniMax-M2": think(OPEN, OPEN, "<minimax:tool_call>"),
    # A call begins with `]<]minimax[>[`, which is no tag.
    "MiniMax-M3": Expected("<mm:think>", ("</mm:think>",), OPEN, CLOSED),
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": think(OPEN, CLOSED, CALL),
    # Off only by /no_think in a message.
    "NVIDIA-Nemotron-Nano-v2": think(OPEN, OPEN),
    "Qwen-QwQ-32B": think(OPEN, CLOSED),
    "Qwen-Qwen3-0.6B": think(UNOPENED, CLOSED, CALL),
    "Qwen3.5-4B": think(OPEN, CLOSED, CALL),
    "Reka-Edge": think(OPEN, UNOPENED, CALL),
    "Spark2.5": think(OPEN, CLOSED, CALL),
    "StepFun3.5-Flash": think(OPEN, OPEN, CALL),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": think(OPEN, OPEN),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": think(OPEN, CLOSED),
    "deepseek-ai-DeepSeek-V3.1": think(OPEN, CLOSED, "<｜tool▁calls▁begin｜>"),
    "deepseek-ai-DeepSeek-V3.2": think(OPEN, CLOSED, "<｜DSML｜function_calls>"),
    "deepseek-ai-DeepSeek-V4": think(OPEN, CLOSED, "<｜DSML｜tool_calls>"),
    "deepseek-ai-DeepSeek-V4-Flash-0731": think(OPEN, CLOSED, "<｜DSML｜tool_calls>"),
    "google-gemma-4-31B-it": GEMMA,
    "google-gemma-4-31B-it-interleaved": GEMMA,
    "ibm-granite-granite-3.3-2B-Instruct": think(UNOPENED, UNOPENED, found="source"),
    "inclusionai-ling-3.0-flash": think(OPEN, CLOSED, CALL),
    "llama-cpp-deepseek-r1": think(OPEN, OPEN),
    "llama-cpp-rwkv-world": think(OPEN, CLOSED),
    "mistralai-Ministral-3-14B-Reasoning-2512": Expected("[THINK]", ("[/THINK]",), UNOPENED, UNOPENED),
    "muse-glimmer": Expected(
        " to=self<|message|>", ("<|eom|><|start|>assistant to=user<|message|>",
                                "<|start|>assistant to=user<|message|>", " to=user<|message|>"), UNOPENED, UNOPENED),
    "openai-gpt-oss-120b": Expected(
        "<|channel|>analysis<|message|>", ("<|end|><|start|>assistant<|channel|>final<|message|>",
                                           "<|start|>assistant<|channel|>final<|message|>",
                                           "<|channel|>final<|message|>"), UNOPENED, UNOPENED),
    "openbmb-MiniCPM5-1B": think(OPEN, CLOSED),
    "poolside-Laguna-S-2.1": think(OPEN, CLOSED, CALL),
    "poolside-Laguna-XS-2.1": think(OPEN, CLOSED, CALL),
    "poolside-Laguna-XS.2": think(OPEN, CLOSED, CALL),
    # The suffix of its tags varies with the tokenizer.
    "tencent-Hy3": Expected(
        "<think:opensource>", ("</think:opensource>", "<tool_calls:opensource>"), OPEN, CLOSED),
    # Its instructions ask for the final response in this mark; its <thinking> belongs to tool calls.
    "unsloth-Apriel-1.5": Expected(None, ("[BEGIN FINAL RESPONSE]",), OPEN, OPEN, "source"),
    "upstage-Solar-Open-100B": Expected(
        "<|think|>", ("<|end|><|begin|>assistant<|content|>", "<|begin|>assistant<|content|>", "<|content|>"),
        UNOPENED, CLOSED),
}

SILENT = {"LFM2.5-Instruct", "MiMo-VL", "MiniMax-M1"}
"""Templates (also) used by thinking models that never write a start marker: left to the vocabulary."""

NOT_THINKING = {
    "CohereForAI-c4ai-command-r-plus-tool_use", "GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B", "Kimi-K2-Instruct",
    "LFM2-8B-A1B", "Mistral-Small-3.2-24B-Instruct-2506", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "Qwen-Qwen2.5-7B-Instruct", "Qwen3-Coder", "google-gemma-2-2b-it",
    "ibm-granite-granite-4.0", "ibm-granite-granite-4.1", "meetkai-functionary-medium-v3.1",
    "meetkai-functionary-medium-v3.2", "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct",
    "meta-llama-Llama-3.3-70B-Instruct", "microsoft-Phi-3.5-mini-instruct", "mistralai-Mistral-Nemo-Instruct-2407",
    "moonshotai-Kimi-K2", "unsloth-mistral-Devstral-Small-2507",
}

REFUSED = {"fireworks-ai-llama-3-firefunction-v2": "'functions' is undefined"}
"""Templates that need more than messages."""

ALL = sorted({*THINKING, *SILENT, *NOT_THINKING, *REFUSED})


@pytest.fixture(scope="session")
def templates(sdist: Path) -> dict[str, ChatTemplate]:
    folder = sdist / "vendor" / "llama.cpp" / "models" / "templates"
    return {f.stem: ChatTemplate(f.read_text(encoding="utf-8"), f.name) for f in folder.glob("*.jinja")}


def test_the_table_names_every_template(templates: dict[str, ChatTemplate]) -> None:
    assert sorted(templates) == ALL
    assert len(ALL) == len(THINKING) + len(SILENT) + len(NOT_THINKING) + len(REFUSED) == 70


@pytest.mark.parametrize("name", ALL)
def test_template(name: str, templates: dict[str, ChatTemplate]) -> None:
    template = templates[name]
    if name in REFUSED:
        with pytest.raises(BadInput, match=REFUSED[name]):
            thinking_of(template, "auto")
        return
    expected = THINKING.get(name)
    formats = {setting: thinking_of(template, setting) for setting in ("auto", "on", "off")}
    if expected is None:
        assert formats == {"auto": None, "on": None, "off": None}
        return
    on, off = formats["on"], formats["off"]
    assert on is not None and off is not None and formats["auto"] == on
    markers = on.markers
    assert Expected(markers.start, markers.ends, on.phase, off.phase, markers.found) == expected
    assert any(end in markers.force for end in markers.ends)


ASK = [{"role": "user", "content": "How many?"}]


def prompt_end(template: ChatTemplate, reasoning: Reasoning, messages: Sequence[dict[str, str]] = ASK) -> str:
    """What a real prompt for this setting ends with."""
    chosen = thinking_of(template, reasoning)
    assert chosen is not None
    return render_one(template, Job(messages, chosen.kwargs)).rpartition(messages[-1]["content"])[2]


@pytest.mark.parametrize(("name", "on", "off"), [
    ("Qwen-Qwen3-0.6B", "<|im_end|>\n<|im_start|>assistant\n", "assistant\n<think>\n\n</think>\n\n"),
    ("deepseek-ai-DeepSeek-V3.1", "<｜Assistant｜><think>", "<｜Assistant｜><think></think>"),
    ("tencent-Hy3", "<think:opensource>", "<think:opensource></think:opensource>"),
    ("MiniMax-M3", "<mm:think>", "</mm:think>"),
    ("google-gemma-4-31B-it", "<|turn>model\n", "<|turn>model\n<|channel>thought\n<channel|>"),
    ("Kimi-K3", "<|open|>think<|sep|>", "<|open|>response<|sep|>"),
    ("upstage-Solar-Open-100B", "<|begin|>assistant", "<|begin|>assistant<|think|><|end|><|begin|>assistant"),
    ("ByteDance-Seed-OSS", "<seed:bos>assistant\n", "</seed:cot_budget_reflect>\n</seed:think>"),
])
def test_switches_reach_the_prompt(name: str, on: str, off: str, templates: dict[str, ChatTemplate]) -> None:
    template = ChatTemplate(templates[name].text, name, "<seed:bos>" if "Seed" in name else "")
    assert prompt_end(template, "on").endswith(on)
    assert not prompt_end(template, "on").endswith(off)
    assert prompt_end(template, "off").endswith(off)


def test_forced_ends_are_spaced_as_the_template_spaces_them(templates: dict[str, ChatTemplate]) -> None:
    def force(name: str) -> str:
        markers = find_markers(templates[name])
        assert markers is not None
        return markers.force

    assert force("Qwen3.5-4B") == "\n</think>"
    assert force("GLM-4.6") == "</think>"
    assert force("openai-gpt-oss-120b") == "<|end|><|start|>assistant<|channel|>final<|message|>"


def test_a_second_message_of_thoughts_is_a_marker(templates: dict[str, ChatTemplate]) -> None:
    markers = find_markers(templates["openai-gpt-oss-120b"])
    assert markers is not None
    assert markers.starts[1] == "<|end|><|start|>assistant<|channel|>analysis<|message|>"


def test_what_is_said_in_messages_changes_nothing(templates: dict[str, ChatTemplate]) -> None:
    for name, phase in (("Qwen-Qwen3-0.6B", UNOPENED), ("Qwen3.5-4B", OPEN)):
        found = thinking_of(templates[name], "on")
        assert found is not None
        messages = [{"role": "system", "content": "Write </think>, <think>."}, {"role": "user", "content": "</think>b"}]
        assert phase_of(prompt_end(templates[name], "on", messages), found.markers) == phase


def test_switching_words_in_a_system_message_show_in_the_real_prompt(templates: dict[str, ChatTemplate]) -> None:
    messages = [{"role": "system", "content": "/no_think"}, *ASK]
    for name in ("NVIDIA-Nemotron-Nano-v2", "HuggingFaceTB-SmolLM3-3B"):
        found = thinking_of(templates[name], "on")
        assert found is not None
        assert phase_of(prompt_end(templates[name], "on", messages), found.markers) == CLOSED


TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|assistant|>{% endif %}"


@pytest.mark.parametrize("source", [
    TURNS + PROMPT,
    "{# <think> and </think> are not used #}" + TURNS + PROMPT,
    "{% for m in messages %}{{ m | tojson }}{% endfor %}" + PROMPT,
    "{% for m in messages %}{{ m.content.split('</think>')[-1] if m.content is string }}{% endfor %}" + PROMPT,
], ids=["plain", "only in a comment", "messages as JSON", "only strips old thoughts"])
def test_templates_without_thinking_get_none(source: str) -> None:
    assert thinking_of(ChatTemplate(source, "m"), "auto") is None


def test_unknown_tags_are_read_from_the_render() -> None:
    source = """{%- for m in messages -%}
<|{{ m.role }}|>{% if m.reasoning_content %}<ponder>
{{ m.reasoning_content }}
</ponder>
{% endif %}{{ m.content }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{% if not enable_thinking %}<ponder></ponder>{% endif %}{%- endif -%}"""
    found = thinking_of(ChatTemplate(source, "m"), "auto")
    assert found is not None
    markers = found.markers
    assert (markers.starts, markers.ends, markers.force) == (("<ponder>",), ("</ponder>",), "\n</ponder>")
    assert (found.phase, found.kwargs) == (UNOPENED, {"enable_thinking": True})


def test_an_effort_that_only_shows_in_the_instructions() -> None:
    source = """{%- set effort = reasoning_effort if reasoning_effort in ['none', 'high'] else 'none' -%}
[SETTINGS]{{ effort }}[/SETTINGS]
{%- for m in messages -%}
    {%- if m.content is string -%}{{ m.content }}{%- continue -%}{%- endif -%}
    {%- for b in m.content -%}
        {%- if b.type == 'thinking' -%}[THINK]{{ b.thinking }}[/THINK]{%- else -%}{{ b.text }}{%- endif -%}
    {%- endfor -%}
{%- endfor -%}"""
    template = ChatTemplate(source, "m")
    on, off = thinking_of(template, "auto"), thinking_of(template, "off")
    assert on is not None and off is not None
    assert (on.markers.start, on.phase, off.phase) == ("[THINK]", UNOPENED, UNOPENED)
    assert render_one(template, Job(ASK, on.kwargs)).startswith("[SETTINGS]high")
    assert render_one(template, Job(ASK, off.kwargs)).startswith("[SETTINGS]none")


@pytest.mark.parametrize("source", ["Hello." + PROMPT, "{{ messages | length }}"])
def test_a_template_that_ignores_the_message_is_refused(source: str) -> None:
    with pytest.raises(BadInput, match="m: it ignores the user's message"):
        thinking_of(ChatTemplate(source, "m"), "auto")


def test_vocabulary_decides_where_the_template_is_silent(templates: dict[str, ChatTemplate]) -> None:
    tokens = {"<think>", "</think>", "[THINK]", "<|channel>thought"}
    markers = markers_from_vocabulary(tokens.__contains__)
    assert markers is not None
    assert (markers.start, markers.ends, markers.found) == ("<think>", ("</think>",), "vocabulary")
    found = thinking_of(templates["MiMo-VL"], "auto", markers)
    assert found is not None and found.phase == UNOPENED and found.markers == markers
    assert markers_from_vocabulary({"<think>", "[/THINK]", "[BEGIN FINAL RESPONSE]"}.__contains__) is None


def test_the_users_tags_win_and_the_phase_is_still_rendered(templates: dict[str, ChatTemplate]) -> None:
    found = thinking_of(templates["Qwen3.5-4B"], "on", markers_from_tags("<think>", "</think>"))
    assert found is not None and (found.phase, found.markers.found) == (OPEN, "flag")
    assert found.markers.ends == ("</think>",)
    own = thinking_of(templates["Qwen-Qwen2.5-7B-Instruct"], "on", markers_from_tags("", "Answer:"))
    assert own is not None and (own.phase, own.markers.start) == (OPEN, None)
