"""The keys of the screen below, and what the signs mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.keys import rank

LEGEND = """\
◦  explored: drawn from a mixture of layers (at depth 0 the final one
   alone); it came out as without
•  explored, and another token was drawn
▸  put there: what f went on with, or words that end a thought
◆  where the two sides of a duel part

thinking, answer   tokens of each
layers             tokens/s with all looked into (ctrl+l), with forks alone
explored, changed  how often ◦ or •, and their share of tokens that may explore
entropy            of the final layer over the whole vocabulary, in nats: one
                   column per token; of the whole reply once it has ended
mixed              of the mixture that a token was drawn from
p_top1             what the final layer gives its favourite
depth              layers in the chosen mixture beside the final one

A new line of a message: alt+enter, ctrl+j, or \\ before enter.

In the view of a token (f2):
coin, draw         at p_top1 or above it explores; decides among candidates
L12, L10 ...       what each layer gives the candidates, the final one first
H                  entropy of the mixture down to a layer
mix                the mean of the layers down to ◀: what an explored token
                   was drawn from
▸                  the candidate that f goes on with"""


class HelpScreen(Once, ModalScreen[None]):
    """Dismissed by any of its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q,enter", "dismiss(None)", "back")]

    def __init__(self, keys: Sequence[tuple[str, str]], legend: str) -> None:
        """`keys`: each with what it does; `legend`: of signs and numbers."""
        super().__init__()
        self._keys, self._legend = keys, legend

    @classmethod
    def of(cls, screen: Screen[Any]) -> Self:
        """The keys of a screen, and its own `legend` or the one of a reply's screens."""
        bindings = sorted((binding for binding, _ in offered(screen)), key=lambda one: rank(one.key, one.action))
        return cls([(screen.app.get_key_display(binding), binding.description) for binding in bindings],
                   getattr(screen, "legend", LEGEND))

    def compose(self) -> ComposeResult:
        """Keys, signs, numbers."""
        width = max((len(key) for key, _ in self._keys), default=0)
        with VerticalScroll(id="help"):
            yield Static("\n".join(f"{key:{width}}  {what}" for key, what in self._keys), id="keys", markup=False)
            yield Static(self._legend, id="legend", markup=False)
        yield Footer()


def offered(screen: Screen[Any]) -> Iterator[tuple[Binding, DOMNode]]:
    """Keys that do something now, and whose they are."""
    return ((active.binding, active.node) for active in screen.active_bindings.values()
            if active.binding.show and active.enabled)
