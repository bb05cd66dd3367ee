"""How much is looked into the layers, and how fast tokens come with it and without."""

from __future__ import annotations

from dataclasses import dataclass

from ledlocal.values.params import Detail

ENOUGH = 20, 0.5
"""Tokens and seconds from which on a speed is one, where tokens are timed as they are drawn on the screen."""


@dataclass(slots=True)
class Speed:
    """Tokens in their time."""

    tokens: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float | None:
        """None as long as they are too few to tell."""
        return self.tokens / self.seconds if self.tokens >= ENOUGH[0] and self.seconds >= ENOUGH[1] else None


class Watch:
    """Whether every layer is looked into. Both ways are measured, of one model and its settings: the last time that a
    way was taken counts, or the time before as long as that is too short to tell."""

    def __init__(self) -> None:
        self.every_layer = False
        """At every thinking token, explored or not."""
        self._of: object = None
        """What is measured."""
        self._known: dict[bool, float] = {}
        """Tokens per second."""
        self._speeds = {False: Speed(), True: Speed()}
        """What came since."""
        self._mixed = False
        """The reply came both ways."""
        self._at: float | None = None
        """When the last tokens came; None: those that come next may be of both ways."""

    def detail(self, least: Detail) -> Detail:
        """What is asked for, where `least` is wanted anyhow."""
        return "all" if self.every_layer else least

    def begin(self, of: object) -> None:
        """A reply begins. `of`: a model and settings; another one's speeds cannot be compared."""
        if of != self._of:
            self._of, self._known, self._speeds = of, {}, {False: Speed(), True: Speed()}
        self.switch()
        self._mixed = False

    def switch(self) -> None:
        """Tokens come another way from now on."""
        self._at, self._mixed = None, True
        if self._speeds[self.every_layer].per_second is not None:
            self._speeds[self.every_layer] = Speed()

    def add(self, tokens: int, at: float) -> None:
        """So many tokens that can be looked into came until `at`, in seconds; 0: others did."""
        if tokens and self._at is not None:
            speed = self._speeds[self.every_layer]
            speed.tokens, speed.seconds = speed.tokens + tokens, speed.seconds + at - self._at
            if speed.per_second is not None:
                self._known[self.every_layer] = speed.per_second
        self._at = at if tokens else None

    def end(self, tokens: int, seconds: float) -> None:
        """A reply has ended that had so many tokens that can be looked into, in seconds measured before they are drawn:
        short ones are enough, too."""
        if not self._mixed and self._speeds[self.every_layer].per_second is None and tokens >= ENOUGH[0] and seconds:
            self._known[self.every_layer] = tokens / seconds

    @property
    def cost(self) -> str:
        """Both speeds in words; empty where there are not two."""
        known = self._known
        return f"all {known[True]:.1f} · forks {known[False]:.1f} tokens/s" if len(known) == 2 else ""
