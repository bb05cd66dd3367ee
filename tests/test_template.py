from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledlocal.runtime.render import answer
from ledlocal.runtime.template import (
    MAX_OUTPUT,
    MAX_TEMPLATE,
    ChatTemplate,
    Job,
    TemplateFailure,
    read_template,
    render,
    render_one,
)
from ledlocal.values.errors import BadInput

ASK = Job([{"role": "user", "content": "Hi <b> \u00e9 \U0001f600"}])


def one(text: str, job: Job = ASK) -> str:
    return render_one(ChatTemplate(text, "m.gguf", "<s>", "</s>"), job)


def refusal(text: str, job: Job = ASK) -> str:
    with pytest.raises(BadInput) as caught:
        one(text, job)
    message = str(caught.value)
    assert message.startswith("m.gguf: ")
    assert "\n" not in message and message.isprintable()
    return message.removeprefix("m.gguf: ")


CHATML = """{% for m in messages %}
    <|{{ m.role }}|>{{ m['content'] }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{%- endif %}
"""


def test_blocks_are_trimmed_as_hugging_face_does_it() -> None:
    assert one(CHATML) == "    <|user|>Hi <b> \u00e9 \U0001f600</s>\n<|assistant|>"
    assert one(CHATML, Job(ASK.messages, add_generation_prompt=False)) == "    <|user|>Hi <b> \u00e9 \U0001f600</s>\n"


def test_lstrip_removes_the_indent_of_blocks() -> None:
    assert one("a\n    {% if true %}\nb\n    {% endif %}\nc") == "a\nb\nc"


def test_what_templates_may_use() -> None:
    loop = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert one("{{ bos_token }}" + loop) == "<s>01"
    assert one("{% generation %}a{{ 1 }}{% endgeneration %}b") == "a1b"
    assert one("{{ {'b': '<é>', 'a': 1} | tojson }}") == '{"b": "<é>", "a": 1}'
    assert one("{{ [1] | tojson(indent=2) }}") == "[\n  1\n]"
    assert one("{{ tools is none }}{{ documents is none }}{{ nothing is defined }}") == "TrueTrueFalse"
    assert one("{{ x }}{{ '%05d' % 7 }}{{ 'ab' * 2 }}{{ 2 ** 10 }}", Job([], {"x": [True]})) == "[True]00007abab1024"


def test_templates_that_measure_tools_without_asking_get_an_empty_list() -> None:
    assert one("{% if tools|length > 0 %}x{% endif %}ok") == "ok"
    assert "NoneType" in refusal("{{ tools|length }}", Job([], {"tools": None}))


def test_date_is_the_jobs_or_todays() -> None:
    source = "{{ strftime_now('%Y-%m-%d') }}"
    assert one(source, Job([], now=datetime(2024, 7, 26))) == "2024-07-26"
    before = datetime.now().strftime("%Y-%m-%d")
    assert one(source) in {before, datetime.now().strftime("%Y-%m-%d")}


def test_many_jobs_in_one_child_each_succeed_or_fail_alone() -> None:
    source = "{% if no %}{{ raise_exception('no \x1b[31mred\n line') }}{% endif %}{{ messages[0].content }}"
    jobs = [Job([{"content": str(i)}], {"no": i == 1}) for i in range(3)]
    start = time.perf_counter()
    assert render(ChatTemplate(source, "m"), jobs) == ["0", TemplateFailure("no [31mred line"), "2"]
    alone = time.perf_counter() - start
    start = time.perf_counter()
    assert len(render(ChatTemplate(source, "m"), jobs * 40)) == 120
    assert time.perf_counter() - start < 20 * alone  # 120 children would take 40 times as long


def test_a_refusal_carries_the_templates_own_words() -> None:
    assert refusal("{{ raise_exception('roles must alternate') }}") == "roles must alternate"


def test_lone_surrogates_and_control_characters_pass_through() -> None:
    text = "\ud83d\x00\x1b</s>\r"
    assert one("{{ messages[0].content }}", Job([{"content": text}])) == text


@pytest.mark.parametrize(("source", "cause"), [
    ("{{ messages", "line 1: "),
    ("a\nb {% if %}", "line 2: "),
    ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "too deeply"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "too deeply"),
], ids=["syntax", "syntax in line 2", "macro recursion", "nesting"])
def test_broken_templates(source: str, cause: str) -> None:
    assert cause in refusal(source)


TIME, SIZE, MEMORY = "it takes more than 2 s", "would be too large", "it needs too much memory"
BOMBS = {
    "nested range": ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", TIME),
    "string times number": ("{% set x = 'x' * 10**6 %}{% set y = x * 3000 %}{{ y }}", SIZE),
    "format width": ("{{ '%1000000000s' % 'a' }}", SIZE),
    "format filter": ("{{ '%1000000000s' | format('a') }}", MEMORY),
    "format method": ("{{ '{:>1000000000}'.format('a') }}", MEMORY),
    "center": ("{{ 'x' | center(10**9) }}", SIZE),
    "lipsum": ("{{ lipsum(100000) }}", "'lipsum' is undefined"),
    "power": ("{{ 9 ** 999999999 }}", SIZE),
    "power tower": ("{{ (2 ** 4000) ** 4000 }}", SIZE),
    "growing string": (
        "{% set n = namespace(s='x') %}{% for i in range(64) %}{% set n.s = n.s + n.s %}{% endfor %}", MEMORY),
    "endless output": ("{% for i in range(9999) %}{% for j in range(9999) %}xx{% endfor %}{% endfor %}", "it writes"),
    "long list": ("{{ [1] * 10**9 }}", SIZE),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_stop_within_their_limits(name: str) -> None:
    source, cause = BOMBS[name]
    clock, work = time.perf_counter(), time.process_time()
    assert cause in refusal(source)
    assert time.perf_counter() - clock < 15  # 2 s of processor time, on a machine that may be busy
    assert time.process_time() - work < 1  # and none of it here
    assert one("still {{ 'alive' }}") == "still alive"


def test_output_is_cut_where_it_is_written() -> None:
    piece = MAX_OUTPUT // 1000
    source = "{% for i in range(n) %}{{ x }}{% endfor %}"
    assert len(one(source, Job([], {"x": "x" * piece, "n": 999}))) == 999 * piece
    assert "more than" in refusal(source, Job([], {"x": "x" * piece, "n": 1010}))


@pytest.mark.parametrize("source", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ ('{0.__class__.__init__.__globals__}' | attr('format'))(cycler) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ messages.append(1) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__.__class__.__base__ }}",
])
def test_a_template_cannot_reach_python(source: str) -> None:
    try:
        text = one(source)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert text == ""  # the sandbox answers some of these with an undefined value


HOSTILE = ("", "\x1b[2J", "{{ 7 * 7 }}", "{% for x in range(9) %}", "</think>", "<|im_end|>", "\ud800", "\0",
           "x" * 10_000, "%1000000000s", "__class__", "{0.__class__}")
KWARGS = st.dictionaries(
    st.sampled_from(["enable_thinking", "thinking", "reasoning_effort", "tools", "documents", "messages", "bos_token",
                     "add_generation_prompt", "strftime_now", "raise_exception", "range", "self", "loop", "namespace",
                     "date_string", "custom_tools", "builtin_tools", "controls", "__class__", "caller", "x"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-2**63, 2**64) | st.floats(allow_nan=False) | st.sampled_from(HOSTILE),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
            ["name", "type", "function", "parameters", "properties", "description", *HOSTILE]), inner, max_size=3),
        max_leaves=8), max_size=4)


@pytest.mark.parametrize("draws", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_no_template_argument_gets_out_of_the_sandbox(draws: int, sdist: Path) -> None:
    """Every real template, with arguments of wrong names and types: text, or one printable line about it."""
    folder = sdist / "vendor" / "llama.cpp" / "models" / "templates"
    sources = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.jinja"))]
    request = {"bos": "<s>", "eos": "</s>", "limits": {"output": MAX_OUTPUT}}
    job = {"messages": [{"role": "user", "content": "Hello."}], "add_generation_prompt": True, "now": "2026-01-01"}
    outcomes = Counter[str]()

    @settings(max_examples=draws, deadline=None)
    @given(st.lists(KWARGS, min_size=2, max_size=2))
    def run(several: list[dict[str, Any]]) -> None:
        for name, source in sources:
            answered = answer({**request, "template": source, "jobs": [{**job, "kwargs": one} for one in several]})
            for result in answered.get("results", [answered]):
                [(kind, text)] = result.items()
                outcomes[kind] += 1
                assert kind == "text" or (kind == "failure" and text.isprintable() and len(text) <= 300), (name, result)

    run()
    assert outcomes["text"] > 5 * len(sources) and outcomes["failure"] >= 10, outcomes


def test_jinja_is_past_its_known_sandbox_escapes() -> None:
    assert tuple(int(n) for n in jinja2.__version__.split(".")[:3]) >= (3, 1, 6)


def test_an_empty_template_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^m\.gguf: it is empty"):
        ChatTemplate(" \n", "m.gguf")


def test_template_files_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("é" * MAX_TEMPLATE, encoding="utf-8")
    assert len(read_template(path).text) == MAX_TEMPLATE
    path.write_text("é" * (MAX_TEMPLATE + 1), encoding="utf-8")
    with pytest.raises(BadInput, match=r"t\.jinja: it has 262145 characters"):
        read_template(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"t\.jinja: cannot read"):
        read_template(path)
    with pytest.raises(BadInput, match=r"none\.jinja: cannot read"):
        read_template(tmp_path / "none.jinja")
