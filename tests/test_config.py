"""Where values come from: configuration file, environment, flags."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from fake_engine import FakeEngine, reply

import ledlocal.commands.chat as chat_command
from ledlocal import cli
from ledlocal.commands.chat_flags import TERMINAL
from ledlocal.commands.tui import tui
from ledlocal.commands.values import long_name
from ledlocal.config import read_config
from ledlocal.models import DEMO
from ledlocal.values.errors import BadInput


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(chat_command, "start_engine", fake.start)
    return fake


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("LEDLOCAL_CONFIG", str(path))
    path.write_text("")
    return path


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="ledlocal")


def test_flags_override_the_environment_which_overrides_the_file(engine: FakeEngine, config: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[chat]\ntemp = 0.1\nthink-temp = 0.2\ntop_k = 3\nmethod = "standard"\nquiet = true\n'
                      'stop = ["A", "B"]\nseed = 5\n')
    monkeypatch.setenv("LEDLOCAL_TOP_K", "4")
    monkeypatch.setenv("LEDLOCAL_SEED", "6")
    engine.enqueue(reply("x"))
    result = run("chat", "demo", "hi", "--seed", "7")
    assert (result.exit_code, result.stderr) == (0, "")
    request = engine.requests[0]
    assert (request.answer.temperature, request.thinking.temperature) == (0.1, 0.2)
    assert (request.answer.top_k, request.answer.method, request.seed) == (4, "standard", 7)
    assert request.stop == ("A", "B")


def test_print_config_names_every_source(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[chat]\ntemp = 0.1\n")
    monkeypatch.setenv("LEDLOCAL_TOP_K", "4")
    result = run("chat", "--print-config", "--min-p", "0.2")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines() if line[0] != "#"}
    assert rows["temp"] == ["0.1", "configuration file"]
    assert rows["top-k"] == ["4", "environment LEDLOCAL_TOP_K"]
    assert rows["min-p"] == ["0.2", "flag --min-p"]
    assert rows["gpu-layers"] == ["auto", "default"]
    assert str(config) in result.stdout and "k 8 · d 8" in result.stdout
    assert (rows["threads"][0], rows["k"][0], rows["json"][0]) == ("-1", "8", "false")
    assert rows["ctx-size"] == ["trained,", "at most 32768  default"] and rows["trace"][0] == "-"


def test_aliases_name_models(engine: FakeEngine, config: Path) -> None:
    config.write_text(f'[models]\nmine = "{DEMO}"\n')
    engine.enqueue(reply("x"))
    assert run("chat", "mine", "hi").exit_code == 0
    assert engine.options[0].model == str(DEMO)


@pytest.mark.parametrize(("text", "said"), [
    ("[chat", "config.toml: "), ("[talk]", "no section 'talk'; there are [chat] and [models]"),
    ("chat = 1", "chat must be a section: [chat]"),
    ("[chat]\ntmep = 1", "chat.tmep is no flag of ledlocal chat; there are model, hf-repo"),
    ("[chat]\nquiet = 1", "chat.quiet must be true or false"), ("[chat]\ntemp = true", "chat.temp must be a value"),
    ("[chat]\ntemp = [1]", "chat.temp must be a string, a number, a switch or a list of strings"),
    ('[chat]\ntemp = ["1"]', "chat.temp takes one value"), ("[models]\na = 1", "models.a must be a string"),
    ("[chat]\ntemp = 'hot'", "temp takes a number, not 'hot'"),
    ("[chat]\ntap = 'best'", "'best' is not one of"),
])
def test_what_is_wrong_is_named(config: Path, text: str, said: str) -> None:
    config.write_text(text + "\n")
    result = run("chat", "demo", "hi")
    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert run("chat", "--help").exit_code == 0


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"LEDLOCAL_CONFIG: .*none\.toml: no such file"):
        read_config({"LEDLOCAL_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(BadInput, match="Is a directory"):
        read_config({"LEDLOCAL_CONFIG": str(tmp_path)})
    assert not read_config({}).exists


def test_shells_get_their_completion() -> None:
    for shell, sign in (("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete --no-files")):
        result = run("completion", shell)
        assert result.exit_code == 0 and sign in result.stdout and "_LEDLOCAL_COMPLETE" in result.stdout


def test_a_model_of_the_configuration_gives_way_to_one_that_is_typed(engine: FakeEngine, config: Path) -> None:
    config.write_text('[chat]\nmodel = "none.gguf"\n')
    engine.enqueue(reply("x"))
    assert run("chat", "demo", "hi").exit_code == 0
    assert engine.options[0].model == str(DEMO)
    assert engine.requests[0].messages is not None and engine.requests[0].messages[-1].content == "hi"
    assert "none.gguf" in run("chat", "-p", "hi").stderr


def test_quiet_is_stronger_than_thinking_shown_by_the_configuration(engine: FakeEngine, config: Path) -> None:
    config.write_text('[chat]\nshow-thinking = "always"\n')
    for flags, shown in (((), True), (("-q",), False), (("-q", "--show-thinking", "always"), True)):
        engine.enqueue(reply("x", "some thought"))
        result = run("chat", "demo", "hi", *flags)
        assert result.stdout == "x\n"
        assert ("some thought" in result.stderr) == shown, flags


def test_the_home_of_nobody_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDLOCAL_CONFIG", "~nobody-of-that-name/x")
    result = run("chat", "demo", "hi")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1) and "~nobody-of-that-name/x" in result.stderr


def complete(line: str, folder: Path) -> set[str]:
    """What bash offers for a line, with the completion sourced as the help says."""
    script = f"""
PATH={Path(sys.executable).parent}:$PATH
cd {folder}
eval "$(ledlocal completion bash)"
COMP_WORDS=({line}); [[ "{line}" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}
compopt() {{ echo "compopt $2"; }}
_ledlocal_completion ledlocal "${{COMP_WORDS[$COMP_CWORD]}}" x
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes(tmp_path: Path, config: Path) -> None:
    config.write_text('[models]\nmine = "m.gguf"\n')
    assert {"chat", "models", "doctor"} <= complete("ledlocal ", tmp_path)
    assert complete("ledlocal chat mi", tmp_path) == {"mine"}
    assert complete("ledlocal chat --method st", tmp_path) == {"standard"}
    assert complete("ledlocal models in", tmp_path) == {"info"}
    assert "compopt default" in complete("ledlocal chat ./sl", tmp_path)
    assert "--reasoning-budget" in complete("ledlocal chat --reasoning", tmp_path)


def test_what_a_screen_does_not_take_is_known() -> None:
    """The configuration file is one for both: flags that only `chat` has are passed over by `tui`."""
    mine, theirs = ({long_name(one) for one in command.params if isinstance(one, click.Option)}
                    for command in (chat_command.chat, tui))
    assert mine - theirs == {*TERMINAL, "print-config"} and theirs <= mine
