"""Does llama.cpp give what PyTorch gives? Tokens of texts, and greedy replies token by token."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import torch

from demo.document import END_TURN
from demo.measurement import asked_of_the_task
from demo.model import Model
from demo.rollout import Law, roll_out
from demo.tokenizer import Tokenizer

PROMPTS = 60
_LONGEST = 384
TEXTS = (
    "Use 3, 7 and 12 to make 33.", "Größe? 你好 🙂", "a\r\nb\n\n  c\t d", "it's we'll 12345 007",
    "<|im_start|>user\nHi<|im_end|>\n", "<think>\n12*3=36,36-7=29 no\n</think>\n\n(3*7)+12=33<|im_end|>",
    "  leading and trailing  ", "١٢٣ ½ x²", "", "\0\x7f",
)


@dataclass(frozen=True, slots=True)
class Check:
    """What came out of it."""

    texts: int
    texts_equal: int
    prompts: int
    prompts_equal: int

    @property
    def passed(self) -> bool:
        """Everything is equal."""
        return self.texts == self.texts_equal and self.prompts == self.prompts_equal


def check(path: Path, model: Model, tokenizer: Tokenizer, prompts: int = PROMPTS) -> Check:
    """The GGUF in llama.cpp beside `model` with its matrices rounded as the file has them."""
    theirs = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=2, verbose=False)
    asked = [tokenizer.encode(one.prompt) for one in asked_of_the_task(prompts)]
    ours = roll_out(rounded(model), tokenizer, asked, Law(temperature=0), _LONGEST, 0)
    equal = sum(_greedy(theirs, prompt, tokenizer.id(END_TURN)) == reply.tokens
                for prompt, reply in zip(asked, ours, strict=True))
    texts = sum(theirs.tokenize(text.encode(), add_bos=False, special=True) == tokenizer.encode(text) for text in TEXTS)
    return Check(len(TEXTS), texts, prompts, equal)


def rounded(model: Model) -> Model:
    """In single precision, with every matrix as half precision has it."""
    own = copy.deepcopy(model).float().cpu()
    with torch.no_grad():
        for weight in (*own.matrices, own.embedding, own.head):
            weight.copy_(weight.half().float())
    return own


def _greedy(model: llama_cpp.Llama, prompt: Sequence[int], end: int) -> list[int]:
    reply: list[int] = []
    for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0, reset=True):
        reply.append(token)
        if token == end or len(reply) == _LONGEST:
            break
    return reply
