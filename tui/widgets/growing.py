"""Widgets that grow with what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textual.geometry import Size
from textual.reactive import var
from textual.widget import Widget


class Growing(Widget):
    """Its size is what the layout has just made it: Textual would lay out and draw everything once more for that.

    A container comes before it among the bases: Textual takes the style of a widget from the first one.
    """

    virtual_size = var(Size(0, 0))


@contextmanager
def following(scroll: Widget) -> Iterator[None]:
    """Within, something grows whose end stays in sight unless the user has scrolled back."""
    at_end = scroll.max_scroll_y - scroll.scroll_y <= 1
    yield
    if at_end:
        scroll.scroll_end(animate=False)
