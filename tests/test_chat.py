"""Conversations: history, commands, Ctrl-C, a dead engine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fake_engine import LOADED, FakeEngine, FakeTerminal, finished, reply, token

from ledlocal.chat import Chat
from ledlocal.conversation import Conversation, Turn
from ledlocal.keys import Typed
from ledlocal.reply import receive
from ledlocal.settings import Settings
from ledlocal.terminal import Console
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.events import Notice, Prefilled
from ledlocal.values.params import Message, Request

Line = str | type[BaseException]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def talk(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a conversation with these lines typed; Ctrl-D at the end."""

    def run(*lines: Line, settings: Settings | None = None, system: str | None = None, quiet: bool = False) -> int:
        typed = iter(lines)

        def ask(_console: Console, _prompt: str) -> str:
            line = next(typed, EOFError)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr(Console, "ask", ask)
        return Chat(lambda _model: engine, settings or Settings(seed=41), Console(quiet=quiet),
                    Conversation(system)).run()

    return run


def test_a_long_prompt_shows_how_much_was_read(talk: Callable[..., int], engine: FakeEngine,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", screen := FakeTerminal())
    monkeypatch.setenv("NO_COLOR", "1")
    engine.enqueue([Prefilled(1, 0, 512, 1200), Prefilled(1, 0, 1024, 1200), *reply("fine")])
    assert talk("long") == 0
    read = [f"\rreading the prompt{part} ...\x1b[K" for part in ("", ": 512 of 1200 tokens", ": 1024 of 1200 tokens")]
    assert "".join(read) + "\r\x1b[K" in screen.getvalue()


def test_a_key_pressed_before_the_engine_knows_of_the_request_is_not_lost(
        engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def pressed(answer_now: Callable[[], None], _typed: Typed) -> Iterator[None]:
        answer_now()
        yield

    heard = []
    monkeypatch.setattr("ledlocal.reply.listening", pressed)
    start, *rest = reply("It is 391.", "17 times 23")
    engine.enqueue([lambda: heard.append(engine.answered), start, lambda: heard.append(engine.answered), *rest])
    receive(engine, Request(prompt="17*23?"), Console(), typed=Typed())
    assert heard == [1, 2]


def test_transcript(talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue(reply("It is 391.", "17 times 23"))
    assert talk("17*23?") == 0
    out, err = capsys.readouterr()
    assert out == "It is 391.\n"
    assert err == (
        "model     tiny · llama · 12 layers · context 256 · tap plugin · loaded in 0.5 s\n"
        "thinking  led · temp 0.6 · k 8 · d 8 · layers reference · norm off\n"
        "answer    led · temp 0.6 · k 8 · explores nothing\n"
        "limits    seed 41 · tokens up to the context · thinking budget none · reasoning auto\n"
        "markers   <think> … </think>, found by render\n"
        "/help for commands · Ctrl-C stops the answer · Ctrl-D leaves\n"
        "17 times 23\n"
        "  3 thinking + 3 answer tokens · 24.0 tokens/s · explored 0, changed 0\n"
        "\n"
        "\n")


def test_quiet(talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.loaded = replace(LOADED, notices=("no thinking phase",))
    engine.enqueue(reply("It is 391.", "17 times 23"))
    assert talk("17*23?", "/exit", quiet=True) == 0
    assert capsys.readouterr() == ("It is 391.\n", "")


def test_history_keeps_thinking_and_the_system_message(talk: Callable[..., int], engine: FakeEngine) -> None:
    engine.enqueue(reply("One.", "a b"))
    engine.enqueue(reply("Two."))
    engine.enqueue(reply("Three."))
    talk("first", "second", "", "third", system="Be brief.")
    first = (Message("system", "Be brief."), Message("user", "first"))
    second = (*first, Message("assistant", "One.", "a b"), Message("user", "second"))
    third = (*second, Message("assistant", "Two."), Message("user", "third"))
    assert [r.messages for r in engine.requests] == [first, second, third]


def test_each_turn_and_attempt_has_its_own_random_numbers(talk: Callable[..., int], engine: FakeEngine) -> None:
    for _ in range(5):
        engine.enqueue(reply("x"))
    talk("a", "/regen", "/regen", "b", "/regen")
    assert [(r.seed, r.problem, r.first_sample) for r in engine.requests] == [
        (41, "", 0), (41, "", 1), (41, "", 2), (41, "1", 0), (41, "1", 1)]


def test_regen_replaces_the_answer(talk: Callable[..., int], engine: FakeEngine) -> None:
    for answer in ("bad", "good", "next"):
        engine.enqueue(reply(answer))
    talk("/regen", "a", "/regen", "b")
    assert engine.requests[1].messages == (Message("user", "a"),)
    assert engine.requests[2].messages == (Message("user", "a"), Message("assistant", "good"), Message("user", "b"))


def test_clear_keeps_the_system_message(talk: Callable[..., int], engine: FakeEngine) -> None:
    engine.enqueue(reply("x"))
    engine.enqueue(reply("y"))
    talk("a", "/clear", "/regen", "b", system="S")
    assert engine.requests[1].messages == (Message("system", "S"), Message("user", "b"))


def test_commands_without_arguments_refuse_some(talk: Callable[..., int], engine: FakeEngine,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue(reply("x"))
    engine.enqueue(reply("y"))
    talk("a", "/clear now", "b", "/exit soon")
    assert len(engine.requests[1].messages or ()) == 3
    assert "/clear takes nothing, not 'now'" in capsys.readouterr().err


def test_set(talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue(reply("x"))
    talk("/set think.temp 1.1", "/set seed 7", "/set answer.method standard", "/set", "a")
    request = engine.requests[0]
    assert (request.thinking.temperature, request.answer.temperature, request.seed) == (1.1, 0.6, 7)
    assert request.answer.method == "standard"
    assert "thinking  led · temp 1.1" in capsys.readouterr().err


def test_a_wrong_setting_is_one_line_and_changes_nothing(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue(reply("x"))
    assert talk("/set temp -3", "/set nonsense 1", "/set temp", "/frob", "a") == 0
    assert engine.requests[0].thinking.temperature == 0.6
    err = capsys.readouterr().err
    assert "ledlocal: temperature must be a number from 0 to 100, not -3.0\n" in err
    assert "ledlocal: no setting 'nonsense'; there are method" in err
    assert "/set takes a name and a value" in err
    assert "no command /frob; /help lists them\n" in err


def test_help_names_every_command(talk: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    talk("/help")
    err = capsys.readouterr().err
    assert all(c in err for c in ("/help", "/exit", "/clear", "/regen", "/set NAME VALUE", "think.temp", "Ctrl-C"))


def test_lines_go_on_and_paths_are_messages(talk: Callable[..., int], engine: FakeEngine) -> None:
    engine.enqueue(reply("x"))
    engine.enqueue(reply("y"))
    talk("one\\", "two", "/etc/motd says what?")
    assert [r.messages[-1].content for r in engine.requests if r.messages] == ["one\ntwo", "/etc/motd says what?"]


def test_ctrl_c_stops_the_answer_and_keeps_the_session(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupt = lambda: signal.raise_signal(signal.SIGINT)  # noqa: E731
    engine.enqueue([reply("x")[0], token("par"), interrupt, token("tial"), finished("par")])
    engine.enqueue(reply("fine"))
    assert talk("a", "b") == 0
    assert signal.getsignal(signal.SIGINT) is before
    out, err = capsys.readouterr()
    assert out == "par\nfine\n"
    assert "finish: cancelled" in err
    assert engine.requests[1].messages == (Message("user", "a"), Message("assistant", "par"), Message("user", "b"))


def test_a_second_ctrl_c_does_not_wait(talk: Callable[..., int], engine: FakeEngine) -> None:
    interrupt = lambda: signal.raise_signal(signal.SIGINT)  # noqa: E731
    engine.enqueue([reply("x")[0], interrupt, interrupt])
    with pytest.raises(KeyboardInterrupt):
        talk("a")


def test_ctrl_c_at_the_prompt_twice_leaves(talk: Callable[..., int], engine: FakeEngine) -> None:
    engine.enqueue(reply("x"))
    assert talk(KeyboardInterrupt, "a", KeyboardInterrupt, KeyboardInterrupt, "b") == 130
    assert len(engine.requests) == 1


def test_a_refused_message_is_not_heard_by_the_model(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue([BadInput("the prompt has 300 tokens, the context 256")])
    engine.enqueue(reply("x"))
    assert talk("long", "short") == 0
    assert "ledlocal: the prompt has 300 tokens, the context 256\n" in capsys.readouterr().err
    assert engine.requests[1].messages == (Message("user", "short"),)


def test_a_dead_engine_is_one_line_and_is_started_again(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue(reply("One."))
    engine.enqueue([reply("x")[0], token("half"), EngineDied("engine died (SIGSEGV) while generating")])
    engine.enqueue(reply("Two."))
    assert talk("a", "b", "c") == 0
    out, err = capsys.readouterr()
    assert out == "One.\nhalf\nTwo.\n"
    assert "ledlocal: engine died (SIGSEGV) while generating\n" in err
    assert engine.requests[2].messages == (  # what had come of the answer stays, and could be continued
        Message("user", "a"), Message("assistant", "One."), Message("user", "b"), Message("assistant", "half"),
        Message("user", "c"))
    assert engine.closed == 1


def test_a_message_stopped_before_its_answer_can_be_answered_and_is_not_heard_later(
        talk: Callable[..., int], engine: FakeEngine) -> None:
    interrupt = lambda: signal.raise_signal(signal.SIGINT)  # noqa: E731
    for _ in range(2):
        engine.enqueue([reply("x")[0], interrupt, token("late"), finished("")])
    engine.enqueue(reply("One."))
    engine.enqueue(reply("Two."))
    talk("mistyped", "question", "/regen", "more")
    assert [r.messages for r in engine.requests[1:]] == [
        (Message("user", "question"),), (Message("user", "question"),),
        (Message("user", "question"), Message("assistant", "One."), Message("user", "more"))]


def test_a_regen_stopped_before_its_answer_leaves_the_old_one(talk: Callable[..., int], engine: FakeEngine) -> None:
    interrupt = lambda: signal.raise_signal(signal.SIGINT)  # noqa: E731
    engine.enqueue(reply("One."))
    engine.enqueue([reply("x")[0], interrupt, finished("")])
    engine.enqueue([EngineDied("engine died")])
    engine.enqueue(reply("Two."))
    talk("a", "/regen", "/regen", "b")
    assert engine.requests[3].messages == (Message("user", "a"), Message("assistant", "One."), Message("user", "b"))


def test_a_message_that_costs_the_engine_is_kept(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.enqueue([EngineDied("engine died")])
    engine.enqueue(reply("One."))
    assert talk("a", "/continue", "/regen") == 0
    assert [r.messages for r in engine.requests] == [(Message("user", "a"),)] * 2
    err = capsys.readouterr().err
    assert "/regen answers the last message with a new engine\n" in err
    assert "ledlocal: the last message has no answer yet; /regen gives one\n" in err


def test_leaving_with_a_dead_engine(talk: Callable[..., int], engine: FakeEngine) -> None:
    engine.enqueue([EngineDied("engine died")])
    assert talk("a") == 3


def test_notices_are_said_once(
        talk: Callable[..., int], engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.loaded = replace(LOADED, notices=("no thinking phase\x1b[2J",))
    for _ in range(2):
        engine.enqueue([Notice(1, "a fresh prefill"), *reply("x")])
    talk("a", "b")
    err = capsys.readouterr().err
    assert err.count("note: no thinking phase␛[2J\n") == 1
    assert err.count("note: a fresh prefill\n") == 1


@pytest.fixture
def forgetful(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """It remembers five tokens."""
    monkeypatch.setattr("ledlocal.dialogue.REMEMBERED", 5)
    return Chat(lambda _model: engine, Settings(seed=41), Console(quiet=True))


def remembered(chat: Chat) -> list[int]:
    """Tokens of each turn's reply."""
    return [len(said.tokens) if (said := chat.said(place)) else 0 for place in range(len(chat.conversation.turns))]


def speaks(engine: FakeEngine, tokens: int) -> None:
    engine.enqueue([token(str(place)) for place in range(tokens)] + [finished("fine")])


def test_tokens_of_the_oldest_replies_are_forgotten_first_and_the_last_reply_is_kept_whole(
        engine: FakeEngine, forgetful: Chat) -> None:
    for tokens, expected in ((2, [2]), (3, [2, 3]), (7, [0, 0, 7])):
        speaks(engine, tokens)
        forgetful.answer(forgetful.new("go on"))
        assert remembered(forgetful) == expected


def test_tokens_of_what_is_not_in_the_conversation_are_forgotten_first(engine: FakeEngine, forgetful: Chat) -> None:
    for tokens in (2, 3, 3):
        speaks(engine, tokens)
    forgetful.answer(forgetful.new("a"))
    forgetful.answer(forgetful.new("b"))
    forgetful.answer(forgetful.repeated())
    assert remembered(forgetful) == [2, 3]


def test_a_conversation_that_is_over_leaves_no_tokens(engine: FakeEngine, forgetful: Chat) -> None:
    speaks(engine, 2)
    forgetful.answer(forgetful.new("a"))
    turns = forgetful.conversation.turns
    forgetful.start_over()
    forgetful.conversation = replace(forgetful.conversation, turns=turns)
    assert remembered(forgetful) == [0]


def test_an_answer_that_could_not_go_on_ends_as_before(engine: FakeEngine) -> None:
    turn = Turn("q", "", "so far", "length", seed=5, method="led", ids=(7, 7))
    chat = Chat(lambda _model: engine, Settings(seed=41), Console(quiet=True), Conversation(turns=(turn,)))
    engine.enqueue([OutOfResources("the context of 256 tokens is full")])
    with pytest.raises(OutOfResources):
        chat.answer(chat.continued())
    assert chat.conversation.turns == (turn,)
    engine.enqueue([token("on", "thinking"), EngineDied("dead")])
    with pytest.raises(EngineDied):
        chat.answer(chat.continued())
    [turn] = chat.conversation.turns
    assert (turn.finish, turn.ids, turn.thinking) == ("cancelled", (7, 7, 7), "so faron")
