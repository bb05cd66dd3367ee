"""A session with one model: everything that loading finds out, and prompts made ready for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from ledlocal.methods.thinking import InitialPhase, ThinkingTracker
from ledlocal.runtime import amx
from ledlocal.runtime.cores import physical_cores
from ledlocal.runtime.header import Header, read_header
from ledlocal.runtime.llama import Model, now, release_memory
from ledlocal.runtime.markers import (
    Markers,
    ThinkingFormat,
    find_markers,
    markers_from_tags,
    markers_from_vocabulary,
    phase_of,
    thinking_of,
)
from ledlocal.runtime.plan import DEFAULT_CONTEXT, Plan, params_of, plan_load
from ledlocal.runtime.preflight import check_model
from ledlocal.runtime.prompt import build_prompt
from ledlocal.runtime.taps.choice import open_tap
from ledlocal.runtime.template import ChatTemplate, render
from ledlocal.runtime.vocabulary import Vocabulary
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, TapRefused
from ledlocal.values.events import Loaded, ModelFacts
from ledlocal.values.file_identity import file_identity
from ledlocal.values.params import EngineOptions, Message, Reasoning, Request, Sampling

FROZEN = 64
"""Prompts with a date of their own that are kept: an evaluation puts each to several methods."""
_SAMPLING_KEYS = {"temp": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt, and a fresh tracker of its thinking phase for every sample."""

    ids: tuple[int, ...]
    tracker: Callable[[], ThinkingTracker]
    notices: tuple[str, ...] = ()


class Session:
    """Header, model, vocabulary, context, tap and template of one file; frees them in the right order."""

    def __init__(self, options: EngineOptions) -> None:
        """Load. Raises BadInput, OutOfResources, or TapRefused (a tap asked for by name)."""
        start = now()
        path = Path(options.model)
        header = read_header(path)
        self._files = {part: file_identity(part) for part in header.splits}
        self._notices = list(check_model(header))
        self._notices += _broken_templates(header)
        self.depth = options.depth
        self._think_tags = options.think_tags
        own = header.metadata.get("tokenizer.chat_template")
        self._template_text = options.chat_template or (own if isinstance(own, str) else None)
        wanted = self._context_wanted(header, options)
        name = header.metadata.get("general.name")
        self._name = name if isinstance(name, str) else path.stem
        self._sampling, left_out = _own_sampling(header)
        self._notices += left_out
        # a large vocabulary's header takes several MB, and nothing below needs it
        del header
        release_memory()
        if not amx.usable():
            self._notices.append(amx.NOTICE)
        # repacked weights take one kernel for four rows and another for the rest: a row's bits depend on its neighbours
        repack = amx.usable() and not options.reproducible
        self.plan = self._make_plan(options, wanted, repack)
        self.room = self.plan.context
        release_memory()
        self.model = Model(path, self.plan.gpu_layers, repack)
        try:
            self._open(options)
            release_memory()
            self.loaded = Loaded(self._facts(options), self.tap.name, now() - start,
                                 {device: need.total for device, need in self.plan.needs.items()},
                                 tuple(self._notices))
        except BaseException:
            self.close()
            raise

    def _context_wanted(self, header: Header, options: EngineOptions) -> int:
        """Tokens per sequence: as asked, or min(trained, 32768)."""
        trained = header.metadata.get(f"{header.architecture}.context_length")
        self._trained = trained if isinstance(trained, int) else DEFAULT_CONTEXT
        if options.context and options.context > self._trained:
            self._notices.append(f"a context of {options.context} tokens is more than the {self._trained} of its "
                                 "training")
        return options.context or min(self._trained, DEFAULT_CONTEXT)

    def _make_plan(self, options: EngineOptions, wanted: int, repack: bool) -> Plan:
        plan = plan_load(options, wanted, repack)
        if not plan.needs:
            self._notices.append("this build of llama.cpp does not tell what memory it needs: a context that does not "
                                 "fit is not noticed before it is made")
        if plan.context < wanted:
            self._notices.append(f"the context is {plan.context} tokens instead of {wanted}: no more fits in memory")
        if plan.gpu_layers is not None and options.gpu_layers is None:
            self._notices.append(f"{plan.gpu_layers} layers fit on the GPU; the CPU does the others")
        return plan

    def _open(self, options: EngineOptions) -> None:
        self.vocabulary = Vocabulary(self.model.vocab)
        self._template: ChatTemplate | None = None
        if self._template_text is not None:
            origin = "the given chat template" if options.chat_template else f"the chat template of {options.model}"
            self._template = ChatTemplate(self._template_text, origin, self.vocabulary.bos, self.vocabulary.eos)
        self._markers = self._find_markers()
        self._frozen = lru_cache(FROZEN)(self._conversation)
        params = params_of(options, self.room, options.threads or physical_cores())
        last = self.model.n_layer
        layers = tuple(range(1 if options.lens else max(1, last - options.depth), last))
        self.context, self.tap, refusal = open_tap(options.tap, self.model, params, layers)
        if options.lens and self.tap.name == "none":
            raise TapRefused(f"the lens needs intermediate layers, and no tap runs: {self.tap.why}")
        if refusal:
            self._notices.append(refusal)

    def _find_markers(self) -> Markers | None:
        if self._think_tags:
            given = markers_from_tags(*self._think_tags)
            if self._tokens_of(given) is None:
                self._notices.append(f"{' and '.join(filter(None, self._think_tags))} are no tokens of this model: "
                                     "they are looked for as plain text")
            return given
        found = find_markers(self._template) if self._template else None
        found = found or markers_from_vocabulary(lambda text: self.vocabulary.find(text) is not None)
        if found is None:
            self._notices.append("no thinking phase was found: LED explores only with scope all")
        return found

    def _facts(self, options: EngineOptions) -> ModelFacts:
        markers = self._markers
        return ModelFacts(
            str(self.model.path), self._name, self.model.architecture, self.model.n_layer, self.vocabulary.n, self.room,
            self._trained, options.slots,
            markers.start if markers else None, markers.ends[0] if markers else None,
            markers.found if markers else "none", self._sampling, self._template is not None,
            hashlib.sha256(self._template_text.encode("utf-8", "surrogateescape")).hexdigest()
            if self._template_text is not None else "")

    @property
    def cache_bytes(self) -> int:
        """Keys, values and recurrent states of all sequences."""
        return sum(need.cache for need in self.plan.needs.values())

    def check_open(self) -> None:
        """Raise LedlocalError after `close`."""
        if not self.model.handle:
            raise LedlocalError("the engine is closed")

    def check_unchanged(self) -> None:
        """Raise EngineDied if a file of the model is not the one that was loaded: its weights are read as needed."""
        for path, before in self._files.items():
            if file_identity(path) != before:
                raise EngineDied(f"{path} was changed while it was in use; load it anew")

    def close(self) -> None:
        """Free context and model; may be repeated."""
        if hasattr(self, "tap"):
            self.tap.detach()
            self.context.close()
        self.model.close()

    def require_layers(self, sampling: Sampling, everywhere: bool) -> None:
        """Raise TapRefused if this way of drawing needs layers that no tap can show."""
        if self.tap.name == "none" and (sampling.method == "led" or everywhere):
            raise TapRefused(f"method {sampling.method} needs intermediate layers, and no tap runs: {self.tap.why}")

    def check_continued(self, ids: tuple[int, ...]) -> None:
        """Raise BadInput unless a reply can go on behind these ids."""
        self._check_ids("continues", ids)
        if ids and self.vocabulary.is_end(ids[-1]):
            raise BadInput("the reply to continue has already ended")

    def _check_ids(self, name: str, ids: tuple[int, ...]) -> None:
        if bad := [i for i in ids if not 0 <= i < self.vocabulary.n]:
            raise BadInput(f"{name} holds {bad[0]}, and the vocabulary has {self.vocabulary.n} tokens")

    def prompt(self, request: Request) -> Prompt:
        """Token ids of a request's prompt and where it leaves the thinking phase. Raises BadInput."""
        if request.messages is not None:
            render = self._frozen if request.date else self._conversation
            return render(request.messages, request.reasoning, request.date)
        ids = request.prompt_ids
        if ids is None:
            ids = tuple(self.vocabulary.with_bos(self.vocabulary.tokenize(request.prompt or "", special=True)))
        if not ids:
            raise BadInput("the prompt is empty")
        self._check_ids("prompt_ids", ids)
        text = b"".join(map(self.vocabulary.piece, ids)).decode("utf-8", "replace")
        phase: InitialPhase = phase_of(text, self._markers) if self._markers else "unopened"
        return Prompt(ids, lambda: self._tracker(phase))

    def _conversation(self, messages: tuple[Message, ...], reasoning: Reasoning, date: str) -> Prompt:
        template = self._template
        if template is None:  # another model's format is never assumed
            raise BadInput(f"{self.model.path} has no chat template; give one with --chat-template-file")
        thinking = self._format(template, reasoning)
        markers = (*self._markers.starts, *self._markers.ends) if self._markers else ()
        built = build_prompt(self.vocabulary, template, messages, thinking.kwargs if thinking else {}, markers,
                             now=datetime.fromisoformat(date) if date else None)
        phase: InitialPhase = "unopened"
        if thinking:
            phase = phase_of(built.tail, thinking.markers) if built.tail else thinking.phase
        notices = list(built.notices)
        if reasoning == "off" and thinking and phase != "closed":
            notices.append("this model's template has no switch for thinking: it may think all the same")
        return Prompt(built.ids, lambda: self._tracker(phase), tuple(notices))

    def _format(self, template: ChatTemplate, reasoning: Reasoning) -> ThinkingFormat | None:
        if self._markers is None:
            return None
        return thinking_of(template, reasoning, self._markers)

    def _tracker(self, phase: InitialPhase) -> ThinkingTracker:
        markers = self._markers
        if markers is None:
            return ThinkingTracker((), (), "closed")
        force = self.vocabulary.tokenize(markers.force, special=True, continues=True)
        spelled = self._tokens_of(markers)
        if spelled is None:
            starts = [text.encode() for text in markers.starts]
            ends = [text.encode() for text in markers.ends]
            return ThinkingTracker(starts, ends, phase, force, self.vocabulary.piece)
        return ThinkingTracker(spelled[0], spelled[1], phase, force)

    def _tokens_of(self, markers: Markers) -> tuple[list[list[int]], list[list[int]]] | None:
        """Ids of the markers; None if one has no token of its own, so that its letters may merge with others."""
        special = set(self.vocabulary.special_tokens.values())
        starts, ends = ([self.vocabulary.tokenize(text, special=True, continues=True) for text in texts]
                        for texts in (markers.starts, markers.ends))
        own = all(special.intersection(ids) for ids in (*starts, *ends))
        return (starts, ends) if own else None


def _broken_templates(header: Header) -> list[str]:
    """Sentences about named templates that do not compile; nothing here uses them."""
    found = []
    for key, text in header.metadata.items():
        if str(key).startswith("tokenizer.chat_template.") and isinstance(text, str):
            try:
                render(ChatTemplate(text, f"{header.path}: {key}"), [])
            except BadInput as error:
                found.append(f"{error}; it is not used")
    return found


def _own_sampling(header: Header) -> tuple[dict[str, float], list[str]]:
    """The file's own `general.sampling.*` values, by the names of Sampling, and sentences about those left out."""
    found: dict[str, float] = {}
    notices = []
    for key, field in _SAMPLING_KEYS.items():
        value = header.metadata.get(f"general.sampling.{key}")
        if not isinstance(value, int | float):
            continue
        if field == "top_k" and value < 0:  # llama.cpp: off
            value = 0
        try:
            Sampling(**{field: int(value) if field == "top_k" else float(value)})  # type: ignore[arg-type]
        except (BadInput, ValueError, OverflowError):
            notices.append(f"the file's general.sampling.{key} is {value}; it is left out")
        else:
            found[field] = float(value)
    return found, notices
