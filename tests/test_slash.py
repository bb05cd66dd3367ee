"""Slash commands, and the conversation that they change and keep."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import LOADED, FakeEngine, finished, reply, token

from ledlocal.chat import Chat
from ledlocal.commands.chat import edit_text
from ledlocal.conversation import (
    Conversation,
    Turn,
    folder,
    latest,
    names,
    new_path,
    path_of,
    read_conversation,
    write,
)
from ledlocal.models import DEMO
from ledlocal.settings import Settings
from ledlocal.slash import COMMANDS
from ledlocal.terminal import Console
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.events import Exploration
from ledlocal.values.params import Message


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def talk(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type lines; what stood on stderr after the banner."""

    def run(*lines: str, conversation: Conversation | None = None, path: Path | None = None, code: int = 0) -> str:
        typed = iter(lines)

        def ask(_prompt: str) -> str:
            line = next(typed, None)
            if line is None:
                raise EOFError
            return line

        run.chat = Chat(lambda _model: engine, Settings(seed=41), Console(), conversation, path=path, ask=ask,
                        edit=edit_text)  # type: ignore[attr-defined]
        assert run.chat.run() == code  # type: ignore[attr-defined]
        return capsys.readouterr().err.partition("Ctrl-D leaves\n")[2]

    return run


@pytest.mark.parametrize("leave", ["/load b", "/clear"])
def test_what_is_not_kept_is_not_written_into_a_named_file(leave: str, talk: Callable[..., str], engine: FakeEngine,
                                                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under --no-save a file that the user named is of the conversation that was saved there, and of no other."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    other = Conversation(model="m", turns=(Turn("q b", "answer b"),))
    write(path_of("b"), "\n".join(other.lines()) + "\n")
    engine._queue.clear()
    for text in ("precious", "more"):
        engine.enqueue(reply(text))
    talk("a", "/save mine", leave, "next")
    assert sorted(names()) == ["b", "mine"]
    assert [turn.answer for turn in read_conversation(path_of("mine")).turns] == ["precious"]
    assert read_conversation(path_of("b")).turns == other.turns


def asked(engine: FakeEngine, i: int) -> list[str]:
    return [message.content for message in engine.requests[i].messages or ()]


def test_undo_forgets_message_and_answer(talk: Callable[..., str], engine: FakeEngine) -> None:
    for answer in ("one", "two", "three"):
        engine.enqueue(reply(answer))
    shown = talk("a", "b", "/undo", "c", "/undo", "/undo", "/undo")
    assert asked(engine, 2) == ["a", "one", "c"]
    assert "forgotten: b\n" in shown and shown.endswith("ledlocal: nothing to undo\n\n")


def test_continue_goes_on_with_a_stopped_thought(talk: Callable[..., str], engine: FakeEngine) -> None:
    stopped = replace(finished("", "half a"), finish="cancelled", ids=(5, 6, 7))
    engine.enqueue([reply("x")[0], token("half a", "thinking"), stopped])
    engine.enqueue([reply("x")[0], token(" thought", "thinking"), replace(finished("done", "half a thought"))])
    engine.enqueue(reply("next"))
    shown = talk("a", "/continue", "/continue", "b")
    first, second, third = engine.requests
    assert (second.messages, second.continues, second.seed, second.first_sample) == (first.messages, (5, 6, 7), 41, 0)
    assert "ledlocal: the last answer ended by itself; there is nothing to continue\n" in shown
    assert third.messages == (
        Message("user", "a"), Message("assistant", "done", "half a thought"), Message("user", "b"))


def test_continue_keeps_the_seed_of_the_stopped_reply(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.enqueue([reply("x")[0], replace(finished("a"), finish="length", ids=(5,))])
    engine.enqueue(reply("b"))
    talk("a", "/seed 99", "/continue")
    assert [request.seed for request in engine.requests] == [41, 41]


def test_edit_answers_the_changed_message(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys, pathlib\np = pathlib.Path(sys.argv[1])\n"
                      "p.write_text(p.read_text().strip() + ' please')")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    shown = talk("a", "/edit")
    assert asked(engine, 1) == ["a please"]
    assert "\n> a please\n" in shown
    assert engine.requests[1].first_sample == 1
    monkeypatch.setenv("VISUAL", "true")
    engine.enqueue(reply("one"))
    assert "unchanged" in talk("a", "/edit")
    monkeypatch.setenv("VISUAL", "no-such-editor-here")
    engine.enqueue(reply("one"))
    assert "the editor did not run" in talk("a", "/edit")


def test_settings_have_commands_of_their_own(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.enqueue(reply("x"))
    shown = talk("/think off", "/method standard", "/seed 7", "/think", "/seed", "/think maybe", "a")
    request = engine.requests[0]
    assert (request.reasoning, request.thinking.method, request.answer.method, request.seed) == (
        "off", "standard", "standard", 7)
    assert "\nreasoning off\nseed 7\n" in shown and "reasoning must be one of on, off, auto" in shown


def test_system_message_and_files(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("two\nlines\n", encoding="utf-8")
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00")
    for answer in "xyz":
        engine.enqueue(reply(answer))
    shown = talk("/system", "/system Be brief.", "/system",
                 *(f"/read {tmp_path}/{name}" for name in ("notes.txt", "none", "image")),
                 "sum up", "and now", "/system off", "alone")
    assert engine.requests[2].messages is not None
    assert engine.requests[2].messages[0].role == "user"
    assert asked(engine, 0) == ["Be brief.", "notes.txt:\ntwo\nlines\n\nsum up"]
    assert asked(engine, 1)[-1] == "and now"
    assert shown.startswith("no system message\nthe system message is set, from the next answer on\nBe brief.\n")
    assert f"ledlocal: {tmp_path}/none: No such file or directory\n" in shown
    assert f"ledlocal: {tmp_path}/image: not a text file in UTF-8\n" in shown


def test_stats_say_where_it_explored(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.enqueue([reply("x")[0], finished("a b", "c d e", Exploration(4, 1, (1, 0, 3), 0.75))])
    engine.enqueue(reply("y"))
    assert "ledlocal: no answer yet in this session\n" in talk("/stats")
    shown = talk("a", "/stats")
    assert "3 thinking + 2 answer" in shown and "confident 75.0%" in shown
    assert "explored  4, changed 1" in shown and "   0 ▇▇▇▇▇▇▇▇ 1\n   2 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 3\n" in shown


def test_statistics_of_a_conversation_that_was_left(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.enqueue(reply("It is 391.", "17 times 23"))
    assert talk("a", "/clear", "/stats").endswith(
        "no answer yet of this model in this conversation\n"
        "session   1 answers · 3 thinking + 3 answer tokens · explored 0, changed 0\n\n")


def test_show(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.loaded = replace(LOADED, model=replace(LOADED.model, path=str(DEMO)))
    shown = talk("/show info", "/show template", "/show params", "/show all")
    assert f"file      {DEMO}\n" in shown and "trained with" in shown
    assert "{%" in shown
    assert "thinking  led · temp 0.6" in shown
    assert "ledlocal: /show takes info, template or params\n" in shown


def test_every_command_is_in_the_help(talk: Callable[..., str]) -> None:
    shown = talk("/help")
    for name, command in COMMANDS.items():
        assert f"{name} {command.usage}".strip() in shown and command.help in shown


def test_near_misses_are_suggested(talk: Callable[..., str]) -> None:
    assert "no command /re; did you mean /regen or /read\n" in talk("/re")


# ---- kept conversations ----


def test_every_answer_is_kept(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "data" / "kept.jsonl"
    engine.enqueue(reply("It is ünï \u2028 13.", "10 plus 3"))
    engine.enqueue([reply("x")[0], replace(finished("par"), finish="cancelled", ids=(5, 6))])
    talk("a\\", "b", "again", path=path, conversation=Conversation("S", model="demo"))
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]
    assert records[0]["ledlocal"] == 1 and records[0]["model"] == "demo"
    assert [record["role"] for record in records[1:]] == ["system", "user", "assistant", "user", "assistant"]
    assert records[3] == {"role": "assistant", "content": "It is ünï \u2028 13.", "thinking": "10 plus 3",
                          "finish": "stop", "seed": 41, "attempt": 0, "method": records[3]["method"]}
    assert records[5]["ids"] == [5, 6]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    kept = read_conversation(path)
    assert kept.messages("c") == (
        Message("system", "S"), Message("user", "a\nb"), Message("assistant", "It is ünï \u2028 13.", "10 plus 3"),
        Message("user", "again"), Message("assistant", "par"), Message("user", "c"))
    engine.enqueue(reply("tial"))
    talk("/continue", conversation=kept)
    assert engine.requests[-1].continues == (5, 6)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    turns = (Turn("\ud800 half", "a\r\nb", "", "length", 2**64 - 1, 3, "led", (1, 2)), Turn("", "", "t", "invalid"))
    conversation = Conversation(None, turns, "m")
    write(path, "\n".join(conversation.lines()) + "\n")
    assert read_conversation(path) == conversation


def test_save_load_and_export(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    for answer in ("one", "two", "three"):
        engine.enqueue(reply(answer, "hm"))
    own = path_of("mine")
    shown = talk("/save early", "a", "/save mine", "b", f"/export {tmp_path}/talk.md", f"/export {tmp_path}/talk.md")
    assert "ledlocal: nothing to save yet\n" in shown
    assert f"ledlocal: {tmp_path}/talk.md exists; choose another" in shown
    assert [turn.answer for turn in read_conversation(own).turns] == ["one", "two"]
    assert (tmp_path / "talk.md").read_text().count("## You") == 2
    shown = talk("/load mine", "/undo", "c", "/load none", "/save a,b", "/load a b", path=path_of("another"))
    assert "goes on after 2 turns" in shown and "ledlocal: " in shown
    assert asked(engine, 2) == ["a", "one", "c"]
    assert [turn.answer for turn in read_conversation(own).turns] == ["one", "three"]
    assert latest() == own and own.parent == folder()
    engine.enqueue(reply("x"))
    assert f"ledlocal: {own} exists; choose another name\n" in talk("a", "/save mine")


def test_clear_begins_a_new_file(talk: Callable[..., str], engine: FakeEngine) -> None:
    first = path_of("first")
    engine.enqueue(reply("one"))
    engine.enqueue(reply("two"))
    talk("a", "/clear", "b", path=first)
    assert [turn.answer for turn in read_conversation(first).turns] == ["one"]
    assert [turn.answer for turn in read_conversation(latest()).turns] == ["two"]


@pytest.mark.parametrize(("text", "why"), [
    ("", "no conversation is in it"), ("{", "line 1"), ('{"ledlocal": 9, "model": ""}', "line 1.*version 9"),
    ('{"ledlocal": 1, "model": ""}\n{"role": "assistant", "content": ""}', "line 2.*no place here for role"),
    ('{"ledlocal": 1, "model": ""}\n{"role": "user"}', "line 2.*content"),
    ('{"ledlocal": 1, "model": ""}\n{"role": "user", "content": ""}\n{"role": "assistant", "content": "", '
     '"finish": "x"}', "line 3"), ("[" * 100_000, "line 1"),
])
def test_other_files_are_refused_by_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(BadInput, match=f"x.jsonl: {why}"):
        read_conversation(path)


def test_a_full_disk_keeps_the_old_file_and_the_session(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.jsonl"
    engine.enqueue(reply("one"))
    engine.enqueue(reply("two"))
    talk("a", path=path)
    before = path.read_text()

    def full(_fd: int) -> None:
        raise OSError(28, "No space left")

    monkeypatch.setattr("ledlocal.conversation.os.fsync", full)
    shown = talk("b", conversation=read_conversation(path), path=path, code=OutOfResources.exit_code)
    assert f"ledlocal: cannot save {path}: No space left\n" in shown
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_another_models_tokens_are_not_continued(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    stopped = Turn("a", "one", finish="cancelled", ids=(7, 8))
    write(path, "\n".join(Conversation(model="other", turns=(stopped,)).lines()) + "\n")
    engine.enqueue(reply("two"))
    shown = talk(f"/load {path}", "/continue", "b", conversation=Conversation(model="mine"),
                 path=tmp_path / "own.jsonl")
    assert "no token of the last answer is known to this model" in shown
    assert asked(engine, 0) == ["a", "one", "b"] and engine.requests[0].continues == ()
    assert read_conversation(path).model == "mine"


def test_a_kept_conversation_without_a_turn_is_no_longer_kept(talk: Callable[..., str], engine: FakeEngine) -> None:
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    talk("a", "/undo", path=path_of("own"))
    assert names() == []
    talk("a", path=path_of("own"))
    assert names() == ["own"]


def test_a_saved_file_has_the_ending_that_is_looked_for(talk: Callable[..., str], engine: FakeEngine,
                                                        tmp_path: Path) -> None:
    engine.enqueue(reply("one"))
    shown = talk("a", f"/save {tmp_path}/own")
    assert f"ledlocal: {tmp_path}/own: the name of a conversation's file ends in .jsonl\n" in shown
    assert not list(tmp_path.glob("own*"))
    engine.enqueue(reply("two"))
    assert f"saved as {tmp_path}/odd.txt" in talk("a", "/save", path=tmp_path / "odd.txt")  # it was named before


def test_a_name_that_cannot_be_saved_is_not_kept(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    shown = talk("a", f"/save {tmp_path}/none/x.jsonl", "/save /proc/x.jsonl", f"/export {tmp_path}/none/x.md", "b",
                 path=own)
    assert shown.count("cannot save /proc/x.jsonl") == 1
    assert shown.count(f"ledlocal: {tmp_path}/none: no such folder\n") == 2
    assert not (tmp_path / "none").exists()
    assert [turn.answer for turn in read_conversation(own).turns] == ["one", "two"]


def test_an_attached_file_waits_for_the_next_message(talk: Callable[..., str], engine: FakeEngine,
                                                     tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("notes")
    for answer in ("one", "two", "three"):
        engine.enqueue(reply(answer))
    talk("a", f"/read {tmp_path}/n.txt", "/regen", "b")
    assert asked(engine, 1) == ["a"]
    assert asked(engine, 2) == ["a", "two", "n.txt:\nnotes\n\nb"]


@pytest.mark.parametrize(("error", "hint"), [
    (BadInput("the prompt is 300 tokens long"), "the message is kept: /edit changes it, /regen answers it\n"),
    (EngineDied("engine died"), "/regen answers the last message with a new engine\n")])
def test_an_attached_file_stays_with_its_message(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path,
                                                 error: Exception, hint: str) -> None:
    (tmp_path / "n.txt").write_text("notes")
    engine.enqueue([error])
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    shown = talk(f"/read {tmp_path}/n.txt", "a", "/regen", "b")
    assert hint in shown
    assert asked(engine, 1) == ["n.txt:\nnotes\n\na"]
    assert asked(engine, 2) == ["n.txt:\nnotes\n\na", "one", "b"]


def test_messages_without_an_answer_stay_and_the_model_does_not_hear_them(
        talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    for answer in ("one", "two"):
        engine.enqueue([EngineDied("engine died")])
        engine.enqueue(reply(answer))
    talk("a", "b", "c", "d", path=tmp_path / "own.jsonl")
    kept = read_conversation(tmp_path / "own.jsonl")
    assert [(turn.user, turn.answer) for turn in kept.turns] == [("a", ""), ("b", "one"), ("c", ""), ("d", "two")]
    assert asked(engine, 3) == ["b", "one", "d"]


def test_an_edit_without_an_answer_takes_the_old_message_s_place(
        talk: Callable[..., str], engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text('changed')")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    engine.enqueue(reply("one"))
    engine.enqueue([EngineDied("engine died")])
    engine.enqueue(reply("two"))
    talk("a", "/edit", "/regen")
    assert asked(engine, 2) == ["changed"]


def test_a_file_that_ends_with_a_message_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    write(path, "\n".join([*Conversation(turns=(Turn("a", "b"),)).lines(), '{"role": "user", "content": "c"}']))
    assert [(turn.user, turn.unanswered) for turn in read_conversation(path).turns] == [("a", False), ("c", True)]


def test_an_engine_that_died_while_idle_costs_nothing(talk: Callable[..., str], engine: FakeEngine) -> None:
    def die() -> None:
        engine.died = "engine died (SIGKILL) while idle"

    engine.enqueue([*reply("one"), die])
    engine.enqueue(reply("two"))
    shown = talk("a", "b")
    assert "note: engine died (SIGKILL) while idle; a new one is loaded\n" in shown
    assert asked(engine, 1) == ["a", "one", "b"]


def test_a_depth_that_was_not_loaded_is_refused_at_once(talk: Callable[..., str]) -> None:
    shown = talk("/set d 8", "/set think.d 9")
    assert shown.count("ledlocal: ") == 1
    assert "think.d 9: the model was loaded for a depth of 8; start with --d 9" in " ".join(shown.split())


def test_quotes_around_several_lines(talk: Callable[..., str], engine: FakeEngine) -> None:
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    engine.enqueue(reply("three"))
    code = '"""Doc."""\ndef f():\n    """More."""'
    talk('"""first', "second", 'third"""', '"""x"""', code)
    assert asked(engine, 2)[-1] == code
    assert asked(engine, 0) == ["first\nsecond\nthird"]
    assert asked(engine, 1)[-1] == "x"


def test_names_that_are_too_long_are_one_line(talk: Callable[..., str], engine: FakeEngine) -> None:
    engine.enqueue(reply("one"))
    shown = talk("a", f"/save {'n' * 300}", f"/export {'n' * 300}", f"/export {'n' * 300}/x", "/save .", "/save ..")
    assert shown.count("File name too long") == 2
    assert "no such folder" in shown and shown.count("is no name for a conversation") == 2


def test_kept_conversations_are_listed_with_their_first_words(talk: Callable[..., str], engine: FakeEngine) -> None:
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))
    shown = talk("What is  this?\nThis and that and more and more and more and more", "/clear", "b", "/load",
                 path=new_path())
    first, second = names()[::-1]
    assert f"{first}  What is this? This and that and more and more" in shown
    assert f"{second}  b\n" in shown


def test_an_unanswered_message_is_read_back(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    engine.enqueue([EngineDied("engine died")])
    talk("a", path=tmp_path / "own.jsonl", code=3)
    kept = read_conversation(tmp_path / "own.jsonl")
    assert [(turn.user, turn.unanswered) for turn in kept.turns] == [("a", True)]
    engine.enqueue(reply("one"))
    shown = talk("/regen", conversation=kept)
    assert "> a\nit has no answer; /regen gives one\n" in shown
    assert asked(engine, 1) == ["a"]


def test_an_engine_that_does_not_start_again_costs_no_message(engine: FakeEngine, tmp_path: Path) -> None:
    starts = iter([engine, OutOfResources("no memory")])

    def start(_model: str | None) -> FakeEngine:
        match next(starts):
            case OutOfResources() as error:
                raise error
            case started:
                return started

    engine.enqueue([EngineDied("engine died")])
    chat = Chat(start, Settings(seed=41), Console(), path=tmp_path / "own.jsonl")
    for text, error in (("a", EngineDied), ("b", OutOfResources)):
        with pytest.raises(error):
            chat.answer(chat.new(text))
        assert read_conversation(tmp_path / "own.jsonl").turns[-1].user == text


def test_files_that_are_no_text_are_refused(talk: Callable[..., str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    shown = talk("/read /dev/zero", f"/read {tmp_path}/fifo", "/read ~nobody-of-that-name/x", f"/load {tmp_path}/fifo",
                 f"/read {tmp_path}", "/export ~nobody-of-that-name/x")
    assert [line.startswith("ledlocal: ") for line in shown.splitlines() if line] == [True] * 6


def test_undo_of_the_only_turn_is_kept(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    engine.enqueue(reply("one"))
    talk("a", "/undo", path=tmp_path / "own.jsonl")
    assert read_conversation(tmp_path / "own.jsonl").turns == ()


def test_a_conversation_that_is_not_kept_leaves_the_loaded_file_alone(
        talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    write(path, "\n".join(Conversation(turns=(Turn("a", "one"),)).lines()) + "\n")
    before = path.read_bytes()
    engine.enqueue(reply("two"))
    talk(f"/load {path}", "b")
    assert path.read_bytes() == before


def test_conversations_of_one_second_have_files_of_their_own(talk: Callable[..., str], engine: FakeEngine) -> None:
    for answer in ("one", "two", "three"):
        engine.enqueue(reply(answer))
    shown = talk("a", "/clear", "b", "/clear", "c", path=new_path())
    assert "another session" not in shown
    assert {read_conversation(path_of(name)).turns[0].answer for name in names()} == {"one", "two", "three"}


def test_two_sessions_on_one_file_lose_nothing(talk: Callable[..., str], engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"

    def another() -> None:
        write(path, "\n".join(Conversation(turns=(Turn("other", "said"),)).lines()) + "\n")

    engine.enqueue(reply("one"))
    engine.enqueue([another, *reply("two")])
    shown = talk("a", "b", path=path)
    assert "was changed by another session; this one is kept as" in shown
    assert [turn.user for turn in read_conversation(path).turns] == ["other"]
    assert [turn.user for turn in read_conversation(latest()).turns] == ["a", "b"]


def test_load_alone_lists_what_is_kept(talk: Callable[..., str]) -> None:
    assert "no conversation is kept" in talk("/load")
    for name in ("old", "new"):
        write(path_of(name), "\n".join(Conversation(turns=(Turn("a", "b"),)).lines()) + "\n")
    assert talk("/load").split()[-4:] == ["new", "a", "old", "a"]


def test_seeds_and_attempts_out_of_range_are_no_conversation(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    for name in ("seed", "attempt"):
        lines = list(Conversation(turns=(Turn("a", "b", seed=5, attempt=3),)).lines())
        write(path, "\n".join(lines).replace(f'"{name}": ', f'"{name}": -') + "\n")
        with pytest.raises(BadInput, match=f"{path}: line 3"):
            read_conversation(path)


def test_continued_answers_are_counted_once(talk: Callable[..., str], engine: FakeEngine) -> None:
    first, more = reply("one two three"), reply("one two three four five")
    engine.enqueue([*first[:-1], replace(first[-1], finish="length")])  # type: ignore[type-var]
    engine.enqueue(more)
    assert "session   1 answers" not in talk("a", "/continue", "/stats")
    engine.enqueue(reply("six"))
    assert "session   2 answers · 0 thinking + 6 answer tokens" in talk_on(engine, talk)


def talk_on(engine: FakeEngine, talk: Callable[..., str]) -> str:
    first, more = reply("one two three"), reply("one two three four five")
    last = engine._queue.pop()
    engine.enqueue([*first[:-1], replace(first[-1], finish="length")])  # type: ignore[type-var]
    engine.enqueue(more)
    engine.enqueue(last)
    return talk("a", "/continue", "b", "/stats")
