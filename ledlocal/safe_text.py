"""The one way foreign text reaches a terminal: model text, metadata, paths, exceptions."""

from __future__ import annotations

import re

_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u2028\u2029\ud800-\udfff"  # separators, surrogates
    # Unicode's Default_Ignorable_Code_Point (bidi, zero width, fillers, tags) and the interlinear marks, without
    # U+FE0E and U+FE0F, which choose between text and emoji style and cannot hide anything.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's control pictures
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


def safe_text(text: str) -> str:
    """`text` with every character that a terminal would obey or hide in a visible form: ESC as ␛, U+202E as <U+202E>.

    Character by character, so that a sequence split over two tokens comes out as if it had come whole. Newline and
    tab stay. The result is unchanged by a second pass.
    """
    return _UNSHOWN.sub(_visible, text)


def safe_line(text: str) -> str:
    """`safe_text` on one line: runs of white space become one space."""
    return safe_text(" ".join(text.split()))
