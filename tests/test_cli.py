"""Commands from the outside: stdout, stderr, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_engine import LOADED, FakeEngine, reply, token

import ledlocal.commands.chat as chat_command
from ledlocal import cli
from ledlocal.conversation import Conversation, Turn, new_path, write
from ledlocal.models import DEMO
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Exploration, Finished
from ledlocal.values.params import Led, Message, Sampling


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(chat_command, "start_engine", fake.start)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return fake


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, list(args), input=stdin, prog_name="ledlocal")


def test_answer_on_stdout_the_rest_on_stderr(engine: FakeEngine) -> None:
    engine.enqueue(reply("It is 391.", "17 times 23"))
    result = run("chat", "demo", "17*23?", "--seed", "41")
    assert result.exit_code == 0
    assert result.stdout == "It is 391.\n"
    assert result.stderr == ("17 times 23\n"
                             "3 thinking + 3 answer tokens · 24.0 tokens/s · explored 0, changed 0 · seed 41\n")
    assert engine.closed == 1


@pytest.mark.parametrize(("args", "stdin", "model", "prompt"), [
    (["demo", "hi"], None, DEMO, "hi"),
    (["-p", "hi"], None, DEMO, "hi"),
    (["-m", "demo", "hi"], None, DEMO, "hi"),
    ([__file__, "-p", "hi"], None, Path(__file__), "hi"),
    ([], "line one\nline two\n", DEMO, "line one\nline two"),
    (["demo", "hi"], "not read", DEMO, "hi"),
])
def test_model_and_prompt(engine: FakeEngine, args: list[str], stdin: str | None, model: Path, prompt: str) -> None:
    engine.enqueue(reply("x"))
    assert run("chat", *args, stdin=stdin).exit_code == 0
    assert engine.options[0].model == str(model)
    assert engine.requests[0].messages == (Message("user", prompt),)


def test_flags_reach_the_request(engine: FakeEngine) -> None:
    engine.enqueue(reply("x"))
    result = run(
        "chat", "demo", "hi", "-n", "9", "-s", "0", "--temp", "0.5", "--top-k", "5", "--top-p", "0.8", "--min-p", "0.1",
        "--order", "paper", "-sys", "Be brief.", "--reasoning", "on", "--reasoning-budget", "4", "--think-temp", "1",
        "--method", "led", "--answer-method", "standard", "--preset", "paper", "--d", "9", "--k", "4", "--scope", "all",
        "--stop", "a", "--stop", "b", "--set", "think.exploit", "off")
    assert result.exit_code == 0, result.stderr
    request = engine.requests[0]
    led = Led(d=9, k=4, layers="paper", norm=True, scope="all")
    both = Sampling("led", 0.5, 5, 0.8, 0.1, "paper", led)
    assert request.thinking == replace(both, temperature=1, led=replace(led, exploit=False))
    assert request.answer == replace(both, method="standard")
    assert (request.max_tokens, request.seed, request.reasoning, request.reasoning_budget) == (9, 0, "on", 4)
    assert request.stop == ("a", "b")
    assert request.messages == (Message("system", "Be brief."), Message("user", "hi"))
    assert engine.options[0].depth == 9


def test_flags_reach_the_engine(engine: FakeEngine, tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{{ é }}", encoding="utf-8")
    engine.enqueue(reply("x"))
    result = run("chat", "demo", "hi", "-c", "128", "-ngl", "3", "-t", "2", "--tap", "reference", "--reproducible",
                 "-fa", "on", "-ctk", "q8_0", "-ctv", "q4_0", "--think-tags", "<a>,</a>",
                 "--chat-template-file", str(template))
    assert result.exit_code == 0, result.stderr
    options = engine.options[0]
    assert (options.context, options.gpu_layers, options.threads, options.tap) == (128, 3, 2, "reference")
    assert (options.flash_attention, options.cache_type_k, options.cache_type_v) == ("on", "q8_0", "q4_0")
    assert (options.reproducible, options.think_tags, options.chat_template) == (True, ("<a>", "</a>"), "{{ é }}")


def test_a_seed_is_drawn_and_printed(engine: FakeEngine) -> None:
    for _ in range(3):
        engine.enqueue(reply("x"))
    said = [run("chat", "demo", "hi", *flags).stderr for flags in ([], [], ["-s", "-1"])]
    seeds = [request.seed for request in engine.requests]
    assert len(set(seeds)) > 1
    assert all(text.endswith(f"seed {seed}\n") for text, seed in zip(said, seeds, strict=True))


def test_quiet(engine: FakeEngine) -> None:
    engine.loaded = replace(LOADED, notices=("no thinking phase",))
    engine.enqueue(reply("391", "hm"))
    result = run("chat", "demo", "17*23?", "-q")
    assert (result.stdout, result.stderr) == ("391\n", "")


def test_notices_go_to_stderr(engine: FakeEngine) -> None:
    engine.loaded = replace(LOADED, notices=("no thinking phase found",))
    engine.enqueue(reply("391"))
    result = run("chat", "demo", "hi", "--json")
    assert result.stderr == "note: no thinking phase found\n"
    json.loads(result.stdout)


def test_json(engine: FakeEngine) -> None:
    events = reply("Ja, é.", "hm so")
    last = events[-1]
    assert isinstance(last, Finished)
    engine.enqueue([*events[:-1], replace(last, led=Exploration(4, 1, (0, 3, 1), 0.9))])
    result = run("chat", "demo", "hi", "--json", "-s", "5", "--answer-temp", "0", "--stop", "END")
    assert result.stderr == ""
    assert result.stdout.isascii() and result.stdout.count("\n") == 1
    got = json.loads(result.stdout)
    versions = got.pop("build")
    assert set(versions) == {"ledlocal", "llama_cpp_python"}
    led = {"d": 8, "k": 8, "layers": "reference", "norm": False, "scope": "thinking", "exploit": True}
    sampling = {"method": "led", "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.0, "order": "llama",
                "led": led}
    assert got == {
        "answer": "Ja, é.", "thinking": "hm so", "finish": "stop", "reason": "",
        "tokens": {"prompt": 3, "thinking": 2, "answer": 2}, "prompt_ids": [1, 2, 3], "ids": [7] * 4, "seed": 5,
        "method": {"thinking": sampling, "answer": sampling | {"temperature": 0.0}, "max_tokens": None,
                   "reasoning": "auto", "reasoning_budget": None, "stop": ["END"]},
        "model": {"path": "tiny.gguf", "sha256": hashlib.sha256(DEMO.read_bytes()).hexdigest(), "architecture": "llama",
                  "layers": 12, "context": 256, "template_sha256": "ab" * 32,
                  "think": {"start": "<think>", "end": "</think>", "found": "render"}},
        "stream": {"problem": "", "sample": 0, "continued": 0},
        "engine": {"context": None, "slots": 1, "threads": None, "gpu_layers": None, "batch": 512, "tap": "auto",
                   "depth": 8, "lens": False, "reproducible": False, "think_tags": None, "flash_attention": "auto",
                   "cache_type_k": "f16", "cache_type_v": "f16"},
        "tap": "plugin",
        "timing": {"load_s": 0.5, "prefill_s": 0.1, "decode_s": 0.25, "tokens_per_s": 16.0},
        "led": {"explored": 4, "changed": 1, "depth_histogram": [0, 3, 1], "mean_confidence": 0.9,
                "d": 3},
    }


def test_trace(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    engine.enqueue(reply("Yes.", "hm"))
    assert run("chat", "demo", "hi", "--trace", str(path)).exit_code == 0
    assert engine.requests[0].detail == "candidates"
    assert [json.loads(line)["i"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4, 5]
    shown = run("trace", str(path))
    assert shown.exit_code == 0
    assert "4 thinking + 2 answer tokens" in shown.stdout
    again = run("chat", "demo", "hi", "--trace", str(path))
    assert (again.exit_code, again.stderr) == (2, f"ledlocal: {path}: the file exists; a trace overwrites nothing\n")
    engine.enqueue(reply("Yes."))
    assert run("chat", "demo", "hi", "--trace", str(tmp_path / "u"), "--trace-all").exit_code == 0
    assert engine.requests[-1].detail == "all"


def test_a_failed_load_leaves_no_trace_file(
        engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_options: object) -> FakeEngine:
        raise BadInput("tiny.gguf: truncated\x1b[2J\nor worse")

    monkeypatch.setattr(chat_command, "start_engine", fail)
    result = run("chat", "demo", "hi", "--trace", str(tmp_path / "t"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "ledlocal: tiny.gguf: truncated␛[2J or worse\n"
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(("args", "stdin", "said"), [
    (["chat", "no.gguf", "hi"], None, "no.gguf"),
    (["chat", "demo", "hi", "--temp", "hot"], None, "temp takes a number, not 'hot'"),
    (["chat", "demo", "hi", "--top-p", "3"], None, "top_p must be a number from 0 to 1, not 3.0"),
    (["chat", "demo", "hi", "-c", "x"], None, "'x' is not a valid integer. See ledlocal chat --help."),
    (["chat", "demo", "hi", "-c", "3"], None, "context must be"),
    (["chat", "demo", "hi", "-ngl", "-2"], None, "--gpu-layers takes auto, all or a number"),
    (["chat", "demo", "hi", "--frob\x1b"], None, "No such option '--frob"),
    (["chat", "demo", "hi", "there"], None, "one word too many: 'there'"),
    (["chat", "demo", "hi", "--think-tags", "<a>"], None, "--think-tags takes START,END"),
    (["chat", "demo", "hi", "--trace-all"], None, "--trace-all needs --trace"),
    (["chat", "demo", "hi", "--stop", ""], None, "a stop string must not be empty"),
    (["chat", "demo", "hi", "--chat-template-file", "no.jinja"], None, "no.jinja"),
    (["chat", "demo", "hi", "--set", "x", "1"], None, "no setting 'x'"),
    (["chat", "demo", ""], None, "the prompt is empty"),
    (["chat", "demo"], "", "the prompt is empty"),
    (["chat", "demo"], b"\xff", "standard input is not UTF-8"),
    (["trace", "no.jsonl"], None, "no.jsonl"),
    (["trace", "no.jsonl", "--tui"], None, "a terminal that can be drawn on is needed; without --tui"),
    (["trace", "no.jsonl", "--tui", "--layers"], None, "--layers and --color are for the table"),
    (["trace", "no.jsonl", "--tui", "--color", "never"], None, "--layers and --color are for the table"),
    (["frob"], None, "No such command 'frob'"),
])
def test_bad_input_is_one_line_and_code_2(
        engine: FakeEngine, args: list[str], stdin: str | bytes | None, said: str) -> None:
    result = run(*args, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("ledlocal: ") and result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not engine.options, "a model was loaded"


@pytest.mark.parametrize(("error", "code"), [
    (LedlocalError("failed"), 1), (BadInput("bad"), 2), (EngineDied("died"), 3), (OutOfResources("full"), 4),
])
def test_exit_codes(engine: FakeEngine, error: LedlocalError, code: int) -> None:
    engine.enqueue([reply("x")[0], token("par"), error])
    result = run("chat", "demo", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "par\n", f"ledlocal: {error}\n")
    assert engine.closed == 1


def test_other_exceptions_are_not_hidden(engine: FakeEngine) -> None:
    engine.enqueue([ZeroDivisionError("ours to fix")])
    assert isinstance(run("chat", "demo", "hi").exception, ZeroDivisionError)


def test_ctrl_c_keeps_what_was_said(engine: FakeEngine) -> None:
    events = reply("par")
    engine.enqueue([*events[:-1], lambda: signal.raise_signal(signal.SIGINT), token("tial"), events[-1]])
    result = run("chat", "demo", "hi")
    assert (result.exit_code, result.stdout) == (130, "par\n")
    assert "finish: cancelled" in result.stderr


def test_ctrl_c_while_loading(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_command, "start_engine", lambda _options: signal.raise_signal(signal.SIGINT))
    result = run("chat", "demo", "hi")
    assert (result.exit_code, result.stderr) == (130, "ledlocal: interrupted\n")


def test_an_invalid_answer_fails(engine: FakeEngine) -> None:
    last = reply("x")[-1]
    assert isinstance(last, Finished)
    engine.enqueue([reply("x")[0], replace(last, finish="invalid", reason="not a number at token 3", answer="")])
    result = run("chat", "demo", "hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "finish: invalid (not a number at token 3)" in result.stderr


def test_json_needs_a_prompt_on_a_terminal(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_command, "_interactive", lambda: True)
    result = run("chat", "demo", "--json")
    assert (result.exit_code, result.stderr) == (2, "ledlocal: --json needs a prompt\n")


def test_version_and_help() -> None:
    assert run("--version").stdout == "ledlocal 0.1.0\n"
    assert "ledlocal chat model.gguf" in run("--help").stdout
    assert run("models").stderr.startswith("Usage: ledlocal models [OPTIONS] COMMAND [ARGS]...\n\n  Find")
    shown = run("chat", "-h").stdout
    assert all(flag in shown for flag in (
        "--ctx-size", "--predict", "--gpu-layers", "--threads", "--seed", "--temp", "--top-k", "--top-p", "--min-p",
        "--system-prompt", "--reasoning", "--reasoning-budget", "--chat-template-file", "--think-temp", "--answer-temp",
        "--method", "--preset", "--d", "--k", "--tap", "--json", "--trace", "--trace-all", "--think-tags"))


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_loads_nothing_heavy(argument: str) -> None:
    code = ("import sys; from ledlocal.cli import main\n"
            f"try: main(['{argument}'])\n"
            "finally: print('LOADED', *sorted({m.split('.')[0] for m in sys.modules}))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = out.split("LOADED")[1].split()
    assert "click" in loaded
    assert not {"numpy", "llama_cpp", "gguf", "textual", "jinja2", "huggingface_hub", "ledlocal_tui"} & set(loaded)


def test_a_closed_pipe_ends_quietly() -> None:
    code = ("from fake_engine import FakeEngine, reply\n"
            "from ledlocal import cli\n"
            "import ledlocal.commands.chat as chat; engine = FakeEngine()\n"
            "engine.enqueue(reply('word ' * 100_000)); chat.start_engine = engine.start\n"
            "cli.main(['chat', 'demo', 'hi'])")
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(9) == b"word word"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


@pytest.mark.parametrize("args", [("--help",), ("bench", "--help"), ("--version",), ("models", "ls"), ("nothing",)])
@pytest.mark.parametrize("errors", ["read", "with the output"])
def test_whatever_command_ends_quietly_when_nobody_reads(args: tuple[str, ...], errors: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-m", "ledlocal", *args], stdin=subprocess.DEVNULL, stdout=writing,
                              stderr=subprocess.PIPE if errors == "read" else writing, timeout=60)
    finally:
        os.close(writing)
    if errors == "read" and args == ("nothing",):  # it has nothing to say to a reader of its output
        assert done.returncode == 2 and done.stderr.startswith(b"ledlocal: No such command")
    else:
        assert (done.returncode, done.stderr or b"") == (141, b"")


def test_a_model_beside_continue_is_a_model(engine: FakeEngine) -> None:
    for answer in ("one", "two", "three"):
        engine.enqueue(reply(answer))
    kept = new_path()
    write(kept, "\n".join(Conversation(turns=(Turn("a", "b"),), model="demo").lines()))
    assert run("chat", "demo", "--continue", stdin="more").exit_code == 0
    assert run("chat", "demo/x", "--continue").exit_code == 0  # one word that is no model
    assert run("chat", __file__, "--continue", stdin="last").exit_code == 0
    assert [request.messages[-1].content for request in engine.requests if request.messages] == [
        "more", "demo/x", "last"]
    assert engine.options[2].model == __file__


@pytest.mark.parametrize(("args", "environ", "said"), [
    (["-c", "-1"], {}, "-c/--ctx-size: context must be a number from 16"),
    ([], {"LEDLOCAL_THREADS": "100000"}, "LEDLOCAL_THREADS: threads must be a number from 1 to 512"),
    ([], {"LEDLOCAL_COLOR_BY": "x"}, "LEDLOCAL_COLOR_BY: Invalid value for '--color-by': 'x' is not one of"),
    (["--color-by", "x"], {}, "Invalid value for '--color-by': 'x' is not one of"),
])
def test_a_bad_value_names_where_it_comes_from(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, args: list[str],
                                               environ: dict[str, str], said: str) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = run("chat", "demo", "hi", *args)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"ledlocal: {said}")


def test_a_variable_that_is_nearly_one_is_pointed_out(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEDLOCAL_TMEP", "LEDLOCAL_SOMETHING", "LEDLOCAL_LIBRARY"):
        monkeypatch.setenv(name, "stock")
    engine.enqueue(reply("x"))
    assert run("chat", "demo", "hi").stderr.startswith("note: LEDLOCAL_TMEP is not read; LEDLOCAL_TEMP is\n0 thinking")


def test_help_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "ledlocal", "--help"], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "ledlocal: cannot write the output: No space left on device\n")
