"""Parameters of a run: frozen, validated where they are made, one default each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from ledlocal.values.errors import BadInput

MethodName = Literal["standard", "led", "control"]
Order = Literal["llama", "paper"]
LayerPreset = Literal["reference", "paper"]
Scope = Literal["thinking", "all"]
Reasoning = Literal["on", "off", "auto"]
Detail = Literal["none", "forks", "candidates", "all"]
TapName = Literal["auto", "native", "plugin", "reference", "none"]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q4_1", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]


def require_number(name: str, value: float, low: float, high: float) -> None:
    """Raise BadInput unless `low <= value <= high`; a NaN is not."""
    if not low <= value <= high:
        raise BadInput(f"{name} must be a number from {low} to {high}, not {value}")


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise BadInput unless `value` is one of `choices`."""
    if value not in choices:
        raise BadInput(f"{name} must be one of {', '.join(choices)}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Led:
    """Latent Exploration Decoding, arXiv 2602.01698. Defaults: the authors' published code."""

    d: int = 8
    """Exploration depth: number of layer distributions, the final layer included."""
    k: int = 8
    """Number of candidates: the final layer's k most probable tokens."""
    layers: LayerPreset = "reference"
    """`reference`: outputs of layers L-2 ... L-d, as in the authors' code; `paper`: L-1 ... L-d+1."""
    norm: bool = False
    """Apply the model's final norm to intermediate layers before the output head."""
    scope: Scope = "thinking"
    """Where to explore; outside, tokens are drawn from the final layer's k candidates."""
    exploit: bool = True
    """Exploit with probability p_top1; off: explore at every token in scope."""

    def __post_init__(self) -> None:
        require_number("d", self.d, 2, 512)
        require_number("k", self.k, 1, 1024)
        require_choice("layers", self.layers, ("reference", "paper"))
        require_choice("scope", self.scope, ("thinking", "all"))


PRESETS = {"reference": Led(), "paper": Led(layers="paper", norm=True)}
"""`reference`: the authors' published code; `paper`: the variant of the paper's method figure."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one token is drawn, in one phase."""

    method: MethodName = "led"
    temperature: float = 0.6
    """0 is greedy; otherwise 0.01 to 100."""
    top_k: int = 20
    """`standard` only. 0: no limit."""
    top_p: float = 0.95
    """`standard` only. 1: off."""
    min_p: float = 0.0
    """`standard` only. 0: off."""
    order: Order = "llama"
    """`standard` only. `llama`: temperature last; `paper`: temperature first, top-k and top-p jointly."""
    led: Led = Led()

    def __post_init__(self) -> None:
        require_choice("method", self.method, ("standard", "led", "control"))
        require_number("temperature", self.temperature, 0, 100)
        if 0 < self.temperature < 0.01:  # 1 / T must stay a sound float32
            raise BadInput(f"temperature must be 0 (greedy) or at least 0.01, not {self.temperature}")
        require_number("top_k", self.top_k, 0, 2**31 - 1)
        require_number("top_p", self.top_p, 0, 1)
        require_number("min_p", self.min_p, 0, 1)
        require_choice("order", self.order, ("llama", "paper"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as chat templates take it."""

    role: Literal["system", "user", "assistant"]
    content: str
    thinking: str | None = None
    """What an assistant thought before `content`; the template decides whether to repeat it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate: exactly one of `messages`, `prompt` and `prompt_ids`, and how."""

    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    """Raw text, tokenized with special tokens; no template."""
    prompt_ids: tuple[int, ...] | None = None
    continues: tuple[int, ...] = ()
    """Ids already generated for this prompt: the reply goes on behind them as if it had never stopped."""
    thinking: Sampling = Sampling()
    answer: Sampling = Sampling()
    n: int = 1
    """Samples of this prompt."""
    seed: int = 0
    problem: str = ""
    """Names the stream of random numbers, with `seed`, the sample's number and the position."""
    first_sample: int = 0
    max_tokens: int | None = None
    """Limit on generated tokens, thinking included. None: up to the context's end."""
    reasoning_budget: int | None = None
    """After this many thinking tokens the end marker is forced. None: no limit."""
    reasoning: Reasoning = "auto"
    stop: tuple[str, ...] = ()
    """Strings that end the answer; never applied inside thinking."""
    detail: Detail = "forks"
    """Which tokens carry their candidates: projected ones, all, or all and every thinking token projected.

    `none`: there is no event per token at all, only what was said in the end.
    """
    ignore_eos: bool = False
    """Go on after an end-of-generation token (benchmarks)."""
    date: str = ""
    """ISO date and time that the chat template is told; empty: the clock's."""

    def __post_init__(self) -> None:
        given = [x is not None for x in (self.messages, self.prompt, self.prompt_ids)]
        if sum(given) != 1:
            raise BadInput("a request takes exactly one of messages, prompt and prompt_ids")
        require_number("n", self.n, 1, 65536)
        require_number("seed", self.seed, 0, 2**64 - 1)
        if self.max_tokens is not None:
            require_number("max_tokens", self.max_tokens, 1, 2**31 - 1)
        if self.reasoning_budget is not None:
            require_number("reasoning_budget", self.reasoning_budget, 0, 2**31 - 1)
        require_number("first_sample", self.first_sample, 0, 2**63 - 1)
        require_choice("reasoning", self.reasoning, ("on", "off", "auto"))
        require_choice("detail", self.detail, get_args(Detail))
        try:
            datetime.fromisoformat(self.date or "2000-01-01")
        except ValueError:
            raise BadInput(f"date must be an ISO date and time, not {self.date!r}") from None
        if any(not s for s in self.stop):
            raise BadInput("a stop string must not be empty")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the model is loaded."""

    model: str
    """Path of a GGUF file (the first part of a split one)."""
    context: int | None = None
    """Tokens per sequence. None: min(trained, 32768, what fits in memory)."""
    slots: int = 1
    """Sequences decoded side by side."""
    threads: int | None = None
    """None: one per physical core the process may use."""
    gpu_layers: int | None = None
    """None: as many as llama.cpp puts on the GPU by itself."""
    batch: int = 512
    """Prompt tokens per prefill step."""
    flash_attention: FlashAttention = "auto"
    cache_type_k: CacheType = "f16"
    """Type of the keys in the KV cache. Quantized ones take half the memory (q8_0) or less, and cost accuracy."""
    cache_type_v: CacheType = "f16"
    """Type of the values; quantized ones need flash attention."""
    tap: TapName = "auto"
    depth: int = 8
    """Deepest exploration depth d that a request may ask for."""
    lens: bool = False
    """Read every layer and measure all of them at each token: `Token.lens`."""
    reproducible: bool = False
    """A row's logits do not depend on its neighbours (CPU): split KV cache, at least two output rows."""
    chat_template: str | None = None
    """Replaces the file's template."""
    think_tags: tuple[str, str] | None = None
    """Start and end marker; overrides what the template shows."""

    def __post_init__(self) -> None:
        if self.context is not None:
            require_number("context", self.context, 16, 2**24)
        require_number("slots", self.slots, 1, 256)
        if self.threads is not None:
            require_number("threads", self.threads, 1, 512)
        if self.gpu_layers is not None:
            require_number("gpu_layers", self.gpu_layers, 0, 2**20)
        require_number("batch", self.batch, 2, 2**16)
        require_number("depth", self.depth, 2, 512)
        require_choice("tap", self.tap, get_args(TapName))
        require_choice("flash_attention", self.flash_attention, get_args(FlashAttention))
        require_choice("cache_type_k", self.cache_type_k, get_args(CacheType))
        require_choice("cache_type_v", self.cache_type_v, get_args(CacheType))
