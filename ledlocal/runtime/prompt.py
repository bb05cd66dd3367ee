"""Temporary."""
from dataclasses import dataclass
from ledlocal.runtime.template import Job, render_one
@dataclass
class Prompt:
    ids: tuple[int, ...]
    text: str
    notices: tuple[str, ...] = ()
def build_prompt(vocabulary, template, messages, kwargs):
    text = render_one(template, Job([{"role": m.role, "content": m.content} for m in messages], kwargs))
    return Prompt(tuple(vocabulary.tokenize(text, special=True)), text)
