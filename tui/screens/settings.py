"""How the next answer is drawn: a drawer of fields beside the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Label, Static

from ledlocal.dialogue import Dialogue
from ledlocal.safe_text import safe_line
from ledlocal.settings import Settings
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Loaded
from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.field import Field

FIELDS = {
    "method": "standard, led, control", "preset": "reference, paper", "d": "layers, the final one too",
    "k": "candidates", "norm": "on, off", "scope": "thinking, all", "think.temp": "of the thinking",
    "answer.temp": "of the answer", "top_k": "standard only", "top_p": "standard only", "min_p": "standard only",
    "budget": "thinking tokens, -1: no limit", "max_tokens": "-1: no limit", "reasoning": "auto, on, off",
    "seed": "-1: another one"}
"""Name of a setting -> what it takes."""


class SettingsDrawer(Once, ModalScreen[Settings | None]):
    """Dismissed with the settings to go on with, or None: they stay as they were."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "leave as it was"),
        Binding("enter", "apply", "apply", priority=True),
        Binding("up", "app.focus_previous", show=False, priority=True),
        Binding("down", "app.focus_next", "field", key_display="↑ ↓", priority=True),
    ]

    def __init__(self, dialogue: Dialogue) -> None:
        super().__init__()
        self._dialogue = dialogue
        self._settings = dialogue.settings
        self._before = {one: _text(self._settings, dialogue.loaded, one) for one in FIELDS}
        self._texts: dict[str, str] = {}
        self._chosen = self._settings
        """What those came to."""

    def compose(self) -> ComposeResult:
        """Names, fields, and what they take."""
        with VerticalScroll(id="drawer", can_focus=False):
            yield Static("", id="said", markup=False)
            with Grid(id="fields"):
                for name, takes in FIELDS.items():
                    yield Label(name)
                    yield Field(self._before[name], placeholder=takes, id=_id(name), tooltip=takes)
            yield Static("", id="effective", markup=False)
            yield Footer()

    def on_mount(self) -> None:
        """What they come to."""
        self._describe()

    @on(Input.Changed)
    def _describe(self) -> None:
        """Effective values, or what is wrong."""
        try:
            lines = self.chosen().describe(self._dialogue.loaded)
        except BadInput as error:
            self.query_one("#said", Static).update(safe_line(str(error)))
        else:
            self.query_one("#said", Static).update("")
            self.query_one("#effective", Static).update("\n".join(map(safe_line, lines)))

    def chosen(self) -> Settings:
        """What the fields say. The same texts are the same settings: a seed of -1 is drawn once. Raises BadInput."""
        texts = {name: self.query_one(f"#{_id(name)}", Input).value.strip() for name in FIELDS}
        if texts != self._texts:
            self._chosen, self._texts = self._of(texts), texts
        return self._chosen

    def _of(self, texts: Mapping[str, str]) -> Settings:
        settings = self._settings
        for name, text in texts.items():
            if text != self._before[name]:
                settings = settings.with_value(name, text)
        settings.request(None)
        if settings.deepest() > self._dialogue.depth:
            raise BadInput(f"d: the model was loaded for a depth of {self._dialogue.depth}; start with --d")
        return settings

    def action_apply(self) -> None:
        """From the next answer on."""
        try:
            chosen = self.chosen()
        except BadInput as error:
            self.query_one("#said", Static).update(safe_line(str(error)))
        else:
            self.dismiss(chosen)


def _id(name: str) -> str:
    return f"field-{name.replace('.', '-')}"


def _text(settings: Settings, loaded: Loaded, name: str) -> str:
    """The value in effect, as it is typed; empty where there is none."""
    phase, _, bare = name.rpartition(".")
    if name == "seed":
        return str(settings.seed)
    sampling = settings.sampling("answer" if phase == "answer" else "thinking", loaded)
    bare = {"temp": "temperature"}.get(bare, bare)
    for holder in (sampling, sampling.led):
        if hasattr(holder, bare):
            value = getattr(holder, bare)
            return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"{value:g}" \
                if isinstance(value, float) else str(value)
    value = settings.value(name)
    return "" if value is None else str(value)
