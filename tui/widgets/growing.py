"""Widgets that grow with what they hold."""

from __future__ import annotations

from textual.geometry import Size
from textual.reactive import var
from textual.widget import Widget


class Growing(Widget):
    """Its size is what the layout has just made it: Textual would lay out and draw everything once more for that.

    A container comes before it among the bases: Textual takes the style of a widget from the first one.
    """

    virtual_size = var(Size(0, 0))
