"""A conversation in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from ledlocal.reply import Engine, Reply, ReplyView, receive
from ledlocal.settings import Settings
from ledlocal.terminal import CHANGED, DIM, SAME, Console, leave_on_signals
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import INTERRUPTED, EngineDied, LedlocalError
from ledlocal.values.events import Loaded
from ledlocal.values.params import Message

HELP = """\
/help             this list
/exit             leave (also Ctrl-D)
/clear            forget the conversation
/regen            answer the last message again, with other random numbers
/set              show all settings
/set NAME VALUE   change one: temp top_k top_p min_p order method preset d k layers norm scope exploit
                  (one phase: think.temp, answer.top_p ...), seed max_tokens budget (-1: random, no limit), reasoning
Ctrl-C stops the answer and keeps the conversation. A line that ends in \\ goes on in the next one."""


def banner(console: Console, loaded: Loaded, settings: Settings) -> None:
    """Say what runs: model, parameters, markers, tap."""
    model = loaded.model
    console.info(f"model     {model.name} · {model.architecture} · {model.layers} layers · context {model.context} · "
                 f"tap {loaded.tap} · loaded in {loaded.load_s:.1f} s")
    for line in settings.describe(loaded):
        console.info(line)
    if model.think_end:
        console.info(f"markers   {model.think_start or 'opened by the template'} … {model.think_end}, "
                     f"found by {model.think_found}")
    for notice in (*loaded.notices, *settings.without_effect(loaded)):
        console.note(notice)


def legend(console: Console) -> None:
    """Say once what the signs of explored tokens mean."""
    same, changed = console.err.same, console.err.changed
    if same and not console.quiet:
        console.err.write("explored  ", DIM)
        console.err.write(f"same token{same}", SAME)
        console.err.write("  ")
        console.err.write(f"another token{changed}", CHANGED)
        console.err.write("\n")


class Chat:
    """Messages, settings and the engine of one session.

    `start` makes an engine; a session makes one more if its engine died, and keeps the conversation.
    """

    def __init__(self, start: Callable[[], Engine], settings: Settings, console: Console,
                 system: str | None = None, trace: TraceWriter | None = None) -> None:
        self._start = start
        self._engine: Engine | None = start()
        self._loaded = self._engine.loaded
        self._settings = settings
        self._console = console
        self._trace = trace
        self._system = (Message("system", system),) if system else ()
        self._messages: tuple[Message, ...] = self._system
        self._turn = self._attempt = 0

    @property
    def loaded(self) -> Loaded:
        """Facts of the model as last loaded."""
        return self._loaded

    def close(self) -> None:
        """End the engine."""
        if self._engine:
            self._engine.close()
            self._engine = None

    def reply(self, text: str) -> Reply:
        """Answer a message as the next turn. Raises LedlocalError; the message is forgotten then."""
        return self._generate((*self._messages, Message("user", text)), self._turn, 0)

    def _generate(self, messages: tuple[Message, ...], turn: int, attempt: int, show: bool = True) -> Reply:
        if self._engine is None:
            self._engine = self._start()
            self._loaded = self._engine.loaded
        request = self._settings.request(self._loaded, messages, turn, attempt)
        view = ReplyView(self._console) if show else None
        try:
            reply = receive(self._engine, request, self._console, view, self._trace)
        except EngineDied:
            self.close()
            raise
        end = reply.finished
        self._messages = (*messages, Message("assistant", end.answer, end.thinking or None))
        self._turn, self._attempt = turn + 1, attempt
        return reply

    def ask_once(self, text: str, show: bool = True) -> Reply:
        """One answer: shown with its statistics, or only returned."""
        for notice in (*self._loaded.notices, *self._settings.without_effect(self._loaded)):
            self._console.note(notice)
        reply = self._generate((*self._messages, Message("user", text)), 0, 0, show)
        if show:
            self._console.info(f"{reply.statistics()} · seed {reply.request.seed}")
        return reply

    def run(self) -> int:
        """Talk until the user leaves. Returns the exit code: 3 if the engine lies dead then, 130 after Ctrl-C twice.

        Raises KeyboardInterrupt if Ctrl-C comes a second time while a reply is being stopped.
        """
        console = self._console
        leave_on_signals()
        banner(console, self._loaded, self._settings)
        legend(console)
        console.info("/help for commands · Ctrl-C stops the answer · Ctrl-D leaves")
        interrupted = False
        while True:
            try:
                line = self._read()
            except EOFError:
                console.err.write("\n")
                break
            except KeyboardInterrupt:
                console.err.write("\n")
                if interrupted:
                    return INTERRUPTED
                interrupted = True
                console.info("Ctrl-C again or Ctrl-D leaves")
                continue
            interrupted = False
            if line in ("/exit", "/quit", "/bye"):
                break
            try:
                self._do(line)
            except LedlocalError as error:
                console.error(error)
                if self._engine is None:
                    console.info("the conversation is kept; the next message starts the engine again")
        return 0 if self._engine else EngineDied.exit_code

    def _read(self) -> str:
        lines = [self._console.ask("> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._console.ask(". "))
        return "\n".join(lines).strip()

    def _do(self, line: str) -> None:
        """Carry out one line: a command or a message."""
        if not line:
            return
        word, *rest = line.split()
        if word in ("/help", "/clear", "/regen", "/exit", "/quit", "/bye") and rest:
            self._say(f"{word} takes nothing, not {' '.join(rest)!r}")
        elif word == "/help":
            self._say(HELP)
        elif word == "/clear":
            self._messages = self._system
            self._say("the conversation is forgotten")
        elif word == "/regen":
            self._regenerate()
        elif word == "/set" and len(rest) in (0, 2):
            self._set(rest)
        elif word == "/set":
            self._say("/set takes a name and a value, or nothing: /set temp 0.8")
        elif line.startswith("/") and "/" not in word[1:]:
            self._say(f"no command {word}; /help lists them")
        else:
            self._finish(self.reply(line))

    def _say(self, text: str) -> None:
        """Answer a command; the user asked, so quiet or not."""
        for line in text.splitlines():
            self._console.err.line(line, DIM)

    def _finish(self, reply: Reply) -> None:
        self._console.info("  " + reply.statistics())
        self._console.info()

    def _regenerate(self) -> None:
        if len(self._messages) < 2 or self._messages[-1].role != "assistant":
            self._say("nothing to answer again")
            return
        self._finish(self._generate(self._messages[:-1], self._turn - 1, self._attempt + 1))

    def _set(self, rest: list[str]) -> None:
        settings = self._settings
        if rest:
            settings = settings.with_value(*rest)
            settings.request(self._loaded)  # refuses a value out of range while the old settings still stand
            self._settings = settings
        self._say("\n".join([*settings.describe(self._loaded), *settings.without_effect(self._loaded)]))
