"""What a terminal gets, what a pipe gets."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from fake_engine import FakeTerminal, token

from ledlocal.reply import Look, ReplyView
from ledlocal.terminal import CHANGED, DIM, SAME, Color, Console, Screen
from ledlocal.values.events import Token


@pytest.mark.parametrize(("tty", "color", "environ", "colored"), [
    (True, "auto", {"TERM": "xterm"}, True),
    (True, "auto", {"TERM": "dumb"}, False),
    (True, "auto", {"TERM": "xterm", "NO_COLOR": "1"}, False),
    (True, "auto", {"TERM": "xterm", "NO_COLOR": ""}, True),
    (True, "never", {"TERM": "xterm"}, False),
    (False, "auto", {"TERM": "xterm"}, False),
    (False, "always", {"NO_COLOR": "1"}, True),
])
def test_color(tty: bool, color: Color, environ: dict[str, str], colored: bool) -> None:
    stream = FakeTerminal() if tty else io.StringIO()
    Screen(stream, color, environ).write("x", DIM)
    assert stream.getvalue() == ("\x1b[2mx\x1b[0m" if colored else "x")


def test_a_pipe_gets_exact_text_and_a_terminal_safe_text() -> None:
    pipe, terminal = io.StringIO(), FakeTerminal()
    for stream in (pipe, terminal):
        Screen(stream, "never").write("\x1b[2J\u202e")
    assert pipe.getvalue() == "\x1b[2J\u202e"
    assert terminal.getvalue() == "␛[2J<U+202E>"


def test_a_line_is_one_safe_line_even_in_a_pipe() -> None:
    pipe = io.StringIO()
    Screen(pipe).line("a\nb\x1b")
    assert pipe.getvalue() == "a b␛\n"


@pytest.mark.parametrize("term, behind", [("xterm", "\x1b[K"), ("dumb", "")])
def test_a_shorter_status_leaves_nothing_of_a_longer_one(term: str, behind: str) -> None:
    terminal = FakeTerminal()
    screen = Screen(terminal, "never", {"TERM": term})
    screen.status("round 1 of 5: batch 32")
    screen.status("memory of led")
    assert terminal.getvalue() == f"\rround 1 of 5: batch 32{behind}\rmemory of led{behind}"


def test_what_takes_time_is_shown_on_a_terminal_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for tty, quiet, shown in ((True, False, "\rloading ...\x1b[K\r\x1b[K"), (True, True, ""), (False, False, "")):
        stream = FakeTerminal() if tty else io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        console = Console("never", quiet)
        with console.waiting("loading") as wait:
            assert stream.getvalue() == shown.removesuffix("\r\x1b[K")
            wait.over()
            console.err.write("said")
            wait.over()
            wait.says("more")
        assert stream.getvalue() == shown + "said"
        with pytest.raises(RuntimeError), console.waiting("loading"):
            raise RuntimeError
        assert stream.getvalue() == f"{shown}said{shown}"


@pytest.mark.parametrize(("encoding", "signs"), [("utf-8", ("◦", "•")), ("latin-1", ("~", "^"))])
def test_signs_and_text_fit_the_encoding(encoding: str, signs: tuple[str, str]) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    raw = io.BytesIO()
    screen = Screen(Terminal(raw, encoding=encoding), "never")
    assert (screen.same, screen.changed) == signs
    screen.write("→")
    assert raw.getvalue() == ("→".encode() if encoding == "utf-8" else rb"\u2192")


def show(tokens: list[Token], monkeypatch: pytest.MonkeyPatch, tty: bool, color: Color = "never",
         quiet: bool = False, look: Look | None = None) -> tuple[str, str]:
    out, err = (FakeTerminal(), FakeTerminal()) if tty else (io.StringIO(), io.StringIO())
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    view = ReplyView(Console(color, quiet), look or Look())
    for t in tokens:
        view.token(t)
    view.close()
    return out.getvalue(), err.getvalue()


THOUGHT = [
    token("", "thinking", marker=True, explored=True), token("\n\n", "thinking"), token(" So", "thinking"),
    token(" 13", "thinking", explored=True), token(" Wait", "thinking", explored=True, changed=True),
    token(".\n", "thinking"), token("Yes", "thinking", marker=True),
    token("\n\n"), token("It is"), token("\n"), token("\n13."), token("\n"),
]


def test_a_pipe_gets_the_answer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(THOUGHT, monkeypatch, tty=False) == ("It is\n\n13.\n", "So 13 Wait.\nYes\n")
    assert show(THOUGHT, monkeypatch, tty=False, quiet=True) == ("It is\n\n13.\n", "")


def test_a_terminal_gets_signs_with_and_without_color(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = show(THOUGHT, monkeypatch, tty=True)
    assert (out, err) == ("It is\n\n13.\n", "So 13◦ Wait•.\nYes\n\n")
    out, err = show(THOUGHT, monkeypatch, tty=True, color="always")
    assert f"\x1b[{DIM}mSo\x1b[0m" in err
    assert f"\x1b[{SAME}m13◦\x1b[0m" in err
    assert f"\x1b[{CHANGED}mWait•\x1b[0m" in err
    assert re.sub("\x1b\\[[0-9;]*m", "", err) == "So 13◦ Wait•.\nYes\n\n"
    assert "\x1b" not in out


def test_explored_white_space_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [token("a", "thinking"), token(" ", "thinking"), token("\n", "thinking", explored=True),
              token("b", "thinking"), token("", "thinking", explored=True, changed=True)]
    assert show(tokens, monkeypatch, tty=True)[1] == "a ◦\nb•\n"
    assert show(tokens, monkeypatch, tty=False)[1] == "a \nb\n"
    tokens = [token("\n", "thinking", explored=True), token(" b", "thinking")]
    assert show(tokens, monkeypatch, tty=True)[1] == "◦b\n"


def test_thinking_is_shown_always_or_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    always, never = Look(show_thinking="always"), Look(show_thinking="never")
    assert show(THOUGHT, monkeypatch, tty=False, quiet=True, look=always) == ("It is\n\n13.\n", "So 13 Wait.\nYes\n")
    assert show(THOUGHT, monkeypatch, tty=False, look=never) == ("It is\n\n13.\n", "")
    assert show(THOUGHT, monkeypatch, tty=True, quiet=True, look=never)[1] == ""
    out, err = show(THOUGHT, monkeypatch, tty=True, look=never)
    counts = err.removesuffix("\n\n").split("\r")[1:]
    assert counts == [f"thinking … {n} tokens, explored {m}\x1b[K" for n, m in enumerate((1, 1, 1, 2, 3, 3, 3), 1)]
    assert out == "It is\n\n13.\n"


def test_colour_by_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [replace(token(text, phase, explored=True), confidence=p)
              for text, phase, p in (("a", "thinking", 0.1), ("b", "thinking", 0.97), ("c", "answer", 0.5))]
    out, err = show(tokens, monkeypatch, tty=True, color="always", look=Look(color_by="confidence"))
    assert err == "\x1b[38;5;160ma\x1b[0m\x1b[2mb\x1b[0m\n\n" and out == "\x1b[38;5;136mc\x1b[0m\n"
    plain = show(tokens, monkeypatch, tty=True, color="always", look=Look(color_by="none"))
    assert plain == ("c\n", "\x1b[2ma\x1b[0m\x1b[2mb\x1b[0m\n\n")


def test_thinking_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [token("one", "thinking"), token("A"), token("two", "thinking"), token(" B")]
    assert show(tokens, monkeypatch, tty=False) == ("A B\n", "one\ntwo\n")


def test_an_escape_split_over_tokens_stays_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [token("x\x1b"), token("]0;title"), token("\x07")]
    assert show(tokens, monkeypatch, tty=True)[0] == "x␛]0;title␇\n"
    assert show(tokens, monkeypatch, tty=False)[0] == "x\x1b]0;title\x07\n"


def test_nothing_said_is_nothing_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [token("", "thinking", marker=True), token("\n", "thinking"), token("\n")]
    assert show(tokens, monkeypatch, tty=False) == ("", "")


def test_without_a_terminal_on_stdout_the_prompt_goes_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), FakeTerminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    console = Console()
    assert console.ask("> ") == "one"
    with pytest.raises(EOFError):
        console.ask("> ")
    assert (out.getvalue(), err.getvalue()) == ("", "> > ")
