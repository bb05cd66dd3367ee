"""What a line that begins with a slash does in a chat."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ledlocal.conversation import folder, names, outline, path_of, write
from ledlocal.text_file import read_text, user_path
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from ledlocal.chat import Chat
    from ledlocal.dialogue import Dialogue

LEAVE = ("/exit", "/quit", "/bye")
ALIASES = {"/?": "/help", "/retry": "/regen", "/quit": "/exit", "/bye": "/exit"}
LISTED = 20
"""Conversations that /load names."""
LARGEST_FILE = 1 << 20
"""Bytes that /read takes; far more than any context holds."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to type behind the name, what it does, and what runs it: `run(chat, rest)`, `rest` stripped."""

    usage: str
    help: str
    run: Callable[[Chat, str], None]


def carry_out(chat: Chat, line: str) -> None:
    """Run a line that begins with a slash. Raises LedlocalError."""
    name, rest = parsed(line)
    COMMANDS[name].run(chat, rest)


def parsed(line: str) -> tuple[str, str]:
    """The command of a line that begins with a slash, and what stands behind it. Raises BadInput."""
    word, _, rest = line.partition(" ")
    name, rest = ALIASES.get(word, word), rest.strip()
    if name not in COMMANDS:
        near = [other for other in COMMANDS if other.startswith(word)] if len(word) > 1 else []
        raise BadInput(f"no command {word}; {'did you mean ' + ' or '.join(near) if near else '/help lists them'}")
    if rest and not COMMANDS[name].usage:
        raise BadInput(f"{word} takes nothing, not {rest!r}")
    return name, rest


def _help(chat: Chat, _rest: str) -> None:
    width = max(len(f"{name} {command.usage}") for name, command in COMMANDS.items())
    for name, command in COMMANDS.items():
        chat.say(f"{name + ' ' + command.usage:{width}}  {command.help}")
    chat.say(KEYS)


def _leave(chat: Chat, _rest: str) -> None:
    chat.say("/exit takes nothing")  # without more behind it, the loop has already ended


def _clear(chat: Chat, _rest: str) -> None:
    chat.start_over()
    chat.say("the conversation is forgotten; what was saved of it stays saved")


def _again(chat: Chat, _rest: str) -> None:
    _need_turn(chat, "answer again")
    chat.finish(chat.answer(chat.repeated()))


def _undo(dialogue: Dialogue, _rest: str) -> None:
    _need_turn(dialogue, "undo")
    gone = dialogue.conversation.turns[-1].user
    dialogue.conversation, dialogue.last = dialogue.conversation.undone(), None
    dialogue.save(forget=True)
    dialogue.say(f"forgotten: {gone if len(gone) <= 60 else gone[:57] + '...'}")


def _edit(chat: Chat, _rest: str) -> None:
    """The last message in the user's editor, answered again."""
    _need_turn(chat, "edit")
    before = chat.conversation.turns[-1].user
    text = chat.edit(before)
    if text is None or not text.strip() or text.strip() == before:
        chat.say("unchanged")
    else:
        chat.say(f"> {text.strip()}")
        chat.finish(chat.answer(chat.repeated(text.strip())))


def _go_on(chat: Chat, _rest: str) -> None:
    _need_turn(chat, "continue")
    last = chat.conversation.turns[-1]
    if last.unanswered:
        raise BadInput("the last message has no answer yet; /regen gives one")
    if not last.ids and last.finish in ("cancelled", "length"):
        raise BadInput("no token of the last answer is known to this model; /regen answers again")
    if not last.ids:
        raise BadInput("the last answer ended by itself; there is nothing to continue")
    chat.finish(chat.answer(chat.continued()))


def _think(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        dialogue.say(f"reasoning {dialogue.settings.reasoning}")
    else:
        _change(dialogue, "reasoning", rest)


def _set(dialogue: Dialogue, rest: str) -> None:
    words = rest.split()
    if len(words) not in (0, 2):
        raise BadInput("/set takes a name and a value, or nothing: /set temp 0.8")
    if words:
        _change(dialogue, *words)
    else:
        _show_params(dialogue)


def _method(dialogue: Dialogue, rest: str) -> None:
    if rest:
        _change(dialogue, "method", rest)
    else:
        _show_params(dialogue)


def _seed(dialogue: Dialogue, rest: str) -> None:
    if rest:
        _change(dialogue, "seed", rest)
    else:
        dialogue.say(f"seed {dialogue.settings.seed}")


def _change(dialogue: Dialogue, name: str, value: str) -> None:
    settings = dialogue.settings.with_value(name, value)
    settings.request(dialogue.loaded)  # refuses a value out of range while the old settings still stand
    if settings.deepest() > dialogue.depth:
        raise BadInput(f"{name} {value}: the model was loaded for a depth of {dialogue.depth}; start with --d {value}")
    dialogue.settings = settings
    _show_params(dialogue)


def _show_params(dialogue: Dialogue) -> None:
    dialogue.say("\n".join([*dialogue.settings.describe(dialogue.loaded), *dialogue.settings.notices(dialogue.loaded)]))


def _stats(dialogue: Dialogue, _rest: str) -> None:
    if not dialogue.totals.answers:
        raise BadInput("no answer yet in this session")
    dialogue.say("\n".join(dialogue.last.details()) if dialogue.last else
                 "no answer yet of this model in this conversation")
    if dialogue.totals.answers > 1 or dialogue.last is None:
        dialogue.say(dialogue.totals.line())


def _show(dialogue: Dialogue, rest: str) -> None:
    if rest == "params":
        _show_params(dialogue)
    elif rest == "info":
        model = dialogue.loaded.model
        dialogue.say(f"model     {model.name}\nfile      {model.path}\n"
                     f"shape     {model.architecture} · {model.layers} layers · {model.vocabulary} tokens\n"
                     f"context   {model.context} tokens, trained with {model.trained_context}\n"
                     f"tap       {dialogue.loaded.tap}\n"
                     f"thinking  {model.think_start or 'opened by the template'} … "
                     f"{model.think_end or 'no end marker'}, found by {model.think_found}\n"
                     f"kept in   {dialogue.path or 'nowhere'}")
    elif rest == "template":
        from ledlocal.runtime.header import read_header  # loads NumPy

        header = read_header(Path(dialogue.loaded.model.path))
        text = dialogue.template or header.metadata.get("tokenizer.chat_template")
        dialogue.say(text if isinstance(text, str) else "this model has no chat template")
    else:
        raise BadInput("/show takes info, template or params")


def _system(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        dialogue.say(dialogue.conversation.system or "no system message")
        return
    dialogue.conversation = replace(dialogue.conversation, system=None if rest == "off" else rest)
    dialogue.say(f"the system message is {'gone' if rest == 'off' else 'set'}, from the next answer on")


def _save(dialogue: Dialogue, rest: str) -> None:
    if not dialogue.conversation.turns:
        raise BadInput("nothing to save yet")
    path = path_of(rest) if rest else dialogue.path
    if path is None:
        raise BadInput("/save takes a name")
    if rest and path.suffix != ".jsonl":
        raise BadInput(f"{path}: the name of a conversation's file ends in .jsonl")
    dialogue.save(path if path == dialogue.path else _new(path))
    dialogue.say(f"saved as {dialogue.path}; every answer is added to it")


def _load(chat: Chat, rest: str) -> None:
    if not rest:
        kept = names()
        rows = [f"{name}  {outline(name)[2]}".rstrip() for name in kept[:LISTED]]
        chat.say("\n".join(["kept conversations, the latest first:", *rows]) if kept else "no conversation is kept")
        if kept[LISTED:]:
            chat.say(f"and {len(kept) - LISTED} more in {folder()}")
        return
    chat.load(path_of(rest))
    if chat.conversation.turns:
        chat.say_where()


def _export(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        raise BadInput("/export takes a file: a Markdown document is written")
    if not dialogue.conversation.turns:
        raise BadInput("nothing to export yet")
    path = _new(user_path(rest))
    write(path, dialogue.conversation.markdown())
    dialogue.say(f"written to {path}")


def _new(path: Path) -> Path:
    """A path that nothing is at yet, in a folder that is there. Raises BadInput."""
    if os.path.lexists(path):
        raise BadInput(f"{path} exists; choose another name")
    if path.parent != folder() and not os.path.isdir(path.parent):
        raise BadInput(f"{path.parent}: no such folder")
    return path


def _tui(chat: Chat, _rest: str) -> None:
    chat.go_on_screen()


def _read(dialogue: Dialogue, rest: str) -> None:
    if not rest:
        raise BadInput("/read takes a text file; the next message begins with it")
    path = user_path(rest)
    text = read_text(path, LARGEST_FILE)
    dialogue.attached += f"{path.name}:\n{text.rstrip()}\n\n"
    dialogue.say(f"the next message begins with {path.name}, {len(text)} characters")


def _need_turn(dialogue: Dialogue, what: str) -> None:
    if not dialogue.conversation.turns:
        raise BadInput(f"nothing to {what}")


COMMANDS = {
    "/help": Command("", "this list", _help),
    "/exit": Command("", "leave (also /quit, /bye, Ctrl-D)", _leave),
    "/clear": Command("", "begin a new conversation", _clear),
    "/regen": Command("", "answer the last message again, with other random numbers", _again),
    "/undo": Command("", "forget the last message and its answer", _undo),
    "/edit": Command("", "change the last message in $EDITOR and answer it", _edit),
    "/continue": Command("", "go on with an answer or thought that was stopped", _go_on),
    "/think": Command("on|off|auto", "whether the model may think", _think),
    "/method": Command("led|standard|control", "how tokens are drawn", _method),
    "/set": Command("NAME VALUE", "change a setting: temp, think.temp, answer.top_p, d, ...; alone: show all", _set),
    "/seed": Command("N", "seed of the random numbers; -1: a new one", _seed),
    "/stats": Command("", "where the last answer explored, and this session's totals", _stats),
    "/show": Command("info|template|params", "the model, its chat template, all parameters", _show),
    "/system": Command("TEXT|off", "set the system message; alone: show it", _system),
    "/tui": Command("", "go on on a whole screen, with the layers beside the answer; Ctrl-Q comes back", _tui),
    "/read": Command("FILE", "begin the next message with a text file", _read),
    "/save": Command("NAME", "keep this conversation under a name", _save),
    "/load": Command("NAME", "go on with a kept conversation; alone: list them", _load),
    "/export": Command("FILE", "write the conversation as Markdown", _export),
}
OF_A_DIALOGUE: dict[str, Callable[[Dialogue, str], None]] = {
    "/undo": _undo, "/think": _think, "/method": _method, "/set": _set, "/seed": _seed, "/stats": _stats,
    "/show": _show, "/system": _system, "/read": _read, "/save": _save, "/export": _export}
"""Commands that need no terminal."""
KEYS = """\
A new line: Alt-Enter, a \\ at the end of a line, or Enter in a message that begins with three quotes, until three more.
Ctrl-X Ctrl-E opens $EDITOR; Tab completes commands; Ctrl-C drops the line.
While the model answers: Ctrl-E ends its thinking and makes it answer now, Ctrl-C stops it, Ctrl-C twice leaves."""
