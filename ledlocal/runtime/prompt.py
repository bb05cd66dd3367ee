"""Messages to token ids. Markup comes from the chat template only: user text cannot become a control token.

llama.cpp's own template engine keeps track of which characters are input (common/jinja/README.md, "input marking");
here the same is done from outside. While the template renders, private characters stand in for the first and last
characters of special tokens (mostly angle brackets) in messages. So whatever the template trims, splits, deletes or
joins, no special token can come of it; the template can still look at all other text. Then the letters are put back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ledlocal.runtime.template import MAX_OUTPUT, ChatTemplate, Job, TemplateFailure, render
from ledlocal.runtime.vocabulary import Vocabulary, utf8
from ledlocal.values.errors import BadInput
from ledlocal.values.params import Message

Render = Callable[[ChatTemplate, Sequence[Job]], list[str | TemplateFailure]]

_PRIVATE = range(0xF0000, 0xFFFFE)
"""Supplementary private use area A: characters that mean nothing to anyone, and that no template's filter touches."""
_SPACES = " \t\n\v\f\r"
"""C's isspace."""
_NOTICE = ("the chat template would act on markup inside a message (such as '</think>'); "
           "the message was passed on as plain text instead")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation."""

    ids: tuple[int, ...]
    text: str
    """What `ids` spell, but for spaces that a SentencePiece or stripping vocabulary puts or swallows by itself."""
    tail: str
    """What the template put behind the last message: it shows where the prompt leaves the thinking phase.

    Empty if the template does not repeat the last message.
    """
    notices: tuple[str, ...] = ()


def message_dicts(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as templates take them; thoughts under each name that templates look for, which may leave them out."""
    return [{"role": m.role, "content": m.content}
            | ({} if m.thinking is None else dict.fromkeys(("reasoning_content", "reasoning", "thinking"), m.thinking))
            for m in messages]


def build_prompt(vocabulary: Vocabulary, template: ChatTemplate, messages: Sequence[Message],
                 kwargs: Mapping[str, Any], markers: Iterable[str] = (), render: Render = render,
                 now: datetime | None = None) -> Prompt:
    """Render a conversation, ready for the answer, and tokenize it.

    `kwargs`: the template's switches; `now`: what it takes for the time. None: the clock.
    The ids are llama.cpp's own for the text, unless a message spells a special token or one of the thinking `markers`.
    Raises BadInput if there are no messages, one is not Unicode, or the template refuses them.
    """
    if not messages:
        raise BadInput("the conversation has no messages")
    if (length := sum(len(m.content) + len(m.thinking or "") for m in messages)) > MAX_OUTPUT:
        raise BadInput(f"the conversation has {length} characters, more than the {MAX_OUTPUT} that are taken")
    specials = _specials(vocabulary, tuple(markers))
    masks = _Masks(specials.edges, messages, template.text)
    masked = [masks.hide(m) for m in messages]
    last = masked[-1]
    probe = [*masked[:-1], Message(last.role, last.content + masks.end, last.thinking)]
    conversations = [masked, probe, *([messages] if masks.used else [])]
    texts = render(template, [Job(message_dicts(c), dict(kwargs), now=now) for c in conversations])
    rendered, probed = texts[:2]
    if isinstance(rendered, TemplateFailure):
        raise template.refuse(rendered.cause)
    text = masks.show(rendered)
    notices = (_NOTICE,) if masks.used and texts[2] != text else ()
    ids = vocabulary.tokenize(text, special=True)
    if masks.used and not specials.are(ids, rendered):
        ids = specials.tokenize(rendered, masks.show)
    if (complete := vocabulary.with_bos(ids)) != ids:
        ids, text = complete, vocabulary.bos + text
    tail = probed.rpartition(masks.end) if isinstance(probed, str) else ("", "", "")
    return Prompt(tuple(ids), text, tail[2] if tail[1] else "", notices)


class _Masks:
    """Private characters in the place of others."""

    def __init__(self, edges: Iterable[str], messages: Sequence[Message], template: str) -> None:
        """Masks for the characters `edges`; neither messages nor template hold one of the private characters chosen."""
        texts = [text for m in messages for text in (m.content, m.thinking or "")]
        for text in texts:
            utf8(text)
        present = set().union(*texts)
        free = (chr(c) for c in _PRIVATE if chr(c) not in present and chr(c) not in template)
        self.end = next(free)
        """Marks the end of the last message."""
        self._hidden = {ord(c): next(free) for c in sorted(present.intersection(edges))}
        self._shown = {ord(mask): c for c, mask in self._hidden.items()}
        self.used = bool(self._hidden)

    def hide(self, message: Message) -> Message:
        """The message with masks in it."""
        thinking = None if message.thinking is None else message.thinking.translate(self._hidden)
        return Message(message.role, message.content.translate(self._hidden), thinking)

    def show(self, text: str) -> str:
        """The text with the characters that the masks stand for."""
        return text.translate(self._shown) if self.used else text


class _Specials:
    """The special tokens of a vocabulary, as they are found in texts."""

    def __init__(self, vocabulary: Vocabulary, ids: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._ids = ids
        self._values = set(ids.values())
        # Plain text that the vocabulary cannot write becomes unknown tokens too.
        self._markup = {i for i in self._values if not vocabulary.is_unknown(i)}
        any_of = "|".join(map(re.escape, sorted(ids, key=lambda text: (-len(text), text)))) or "(?!)"
        self._pattern = re.compile(any_of)  # leftmost longest, as in Hugging Face's tokenizers
        self._beginning = re.compile(f"(?={any_of})")
        self.edges = {c for text in ids if text.strip() for c in (text.strip()[0], text.strip()[-1])}
        """First and last characters: a text without them cannot hold a special text, nor complete one."""

    def are(self, ids: Iterable[int], masked: str) -> bool:
        """Whether the special tokens among `ids` are those that a masked text holds."""
        found = [self._ids[m.group()] for m in self._pattern.finditer(masked)]
        return [i for i in ids if i in self._values] == found

    def tokenize(self, masked: str, show: Callable[[str], str]) -> list[int]:
        """Ids of a masked text: its special texts parsed, `show` of everything between them plain."""
        ids: list[int] = []
        for part, token in self._partition(masked):
            ids += self._plain(show(part))
            if token is not None:
                ids.append(token)
        return ids

    def _partition(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Ordinary text and the special token behind it, None at the end; strips as llama.cpp does for the token."""
        start, swallow = 0, False
        for match in self._pattern.finditer(text):
            token = self._ids[match.group()]
            left, right = self._vocabulary.strips(token)
            part = text[start:match.start()]
            part = part.lstrip(_SPACES) if swallow else part
            yield part.rstrip(_SPACES) if left else part, token
            start, swallow = match.end(), right
        yield text[start:].lstrip(_SPACES) if swallow else text[start:], None

    def _plain(self, text: str) -> list[int]:
        """Ids of a text without any special one: cut inside its special texts if the tokenizer would join them."""
        if not text:
            return []
        ids = self._vocabulary.tokenize(text, special=False)
        if self._markup.isdisjoint(ids):
            return ids
        cuts = [0, *(m.start() + 1 for m in self._beginning.finditer(text)), len(text)]
        pieces = [text[a:b] for a, b in pairwise(cuts) if a < b]
        ids = [i for n, piece in enumerate(pieces)
               for i in self._vocabulary.tokenize(piece, special=False, continues=n > 0)]
        if bad := self._markup.intersection(ids):
            raise BadInput(f"a message contains {self._vocabulary.text_of(min(bad))!r}, which this model can only read "
                           "as a control token")
        return ids


@lru_cache(maxsize=4)
def _specials(vocabulary: Vocabulary, markers: tuple[str, ...]) -> _Specials:
    """The vocabulary's special tokens, and those `markers` that are one token."""
    found = {text: token for text in markers if text and (token := vocabulary.find(text)) is not None}
    return _Specials(vocabulary, vocabulary.special_tokens | found)
