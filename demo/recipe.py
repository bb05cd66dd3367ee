"""The stages of a run, each of which is made once: tokenizer, supervised, reinforced, exported, checked, measured."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from demo import checkpoint, curve, grpo, measurement, sft
from demo.check import Check, check
from demo.export import export
from demo.model import Model, Shape
from demo.profile import Profile
from demo.tokenizer import Tokenizer, learn
from ledlocal.values.errors import BadInput

NAMES = {"sft": "countdown-sft-f16.gguf", "rl": "countdown-rl-f16.gguf"}


class Recipe:
    """One folder's run. Every stage leaves a file there, and what is there is not made again."""

    def __init__(self, profile: Profile, folder: Path, seed: int, minutes: float) -> None:
        """`minutes` 0: until it is done; else the run stops with a checkpoint once they are over."""
        self._profile, self._folder, self._seed = profile, folder, seed
        self._ends = time.monotonic() + 60 * minutes if minutes else float("inf")
        self._tokenizer: Tokenizer = learn(seed)
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> bool:
        """All stages. False if time was over before the last."""
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                      TimeRemainingColumn(), TextColumn("{task.fields[told]}")) as bars:
            models: dict[str, Model] = {}
            for stage, trained in (("sft", self._supervise), ("rl", self._reinforce)):
                path = self._folder / f"{stage}.pt"
                if not path.exists() and not trained(bars):
                    return False
                models[stage] = checkpoint.load(path, self._tokenizer, self._profile.device)[0]
        for stage, model in models.items():
            if self._over():
                return False
            self._finish(stage, model)
        curve.draw(self._folder, self._folder / "curves.svg")
        return True

    def _supervise(self, bars: Progress) -> bool:
        torch.manual_seed(self._seed)
        profile = self._profile
        model = Model(Shape(len(self._tokenizer), width=profile.width, heads=profile.heads, kv_heads=profile.kv_heads,
                            hidden=profile.hidden)).to(profile.device)
        bar = bars.add_task("supervised", total=profile.sft.steps, told="")

        def tell(done: int, loss: float) -> None:
            bars.update(bar, completed=done, told=f"loss {loss:.3f}")

        with self._fast(model):
            return sft.train(model, self._tokenizer, profile.sft, self._seed, self._folder, tell, self._over)

    def _reinforce(self, bars: Progress) -> bool:
        model = checkpoint.load(self._folder / "sft.pt", self._tokenizer, self._profile.device)[0]
        bar = bars.add_task("reinforced", total=self._profile.rl.iterations, told="")

        def tell(done: int, measures: dict[str, float]) -> None:
            told = f"solved {measures['solved']:.2f}, surprise {measures['surprise']:.3f}"
            bars.update(bar, completed=done, told=told)

        with self._fast(model):
            return grpo.train(model, self._tokenizer, self._profile.rl, self._seed, self._folder, tell, self._over)

    def _fast(self, model: Model) -> torch.autocast:
        if self._profile.fast:
            model.compile(dynamic=True)
        # no cache: it would hold on to weights from before an optimizer's step
        return torch.autocast(model.head.device.type, torch.bfloat16, self._profile.fast, cache_enabled=False)

    def _finish(self, stage: str, model: Model) -> None:
        """Export, check and measure one of the two models; the numbers lie beside it."""
        path, numbers = self._folder / NAMES[stage], self._folder / f"{stage}.json"
        if numbers.exists():
            return
        export(model, self._tokenizer, path, path.stem)
        checked = check(path, model, self._tokenizer, self._profile.prompts)
        # the supervised model is not shipped, and not sharp: near-ties fall either way
        strict = stage == "rl" and self._profile.must_be_equal
        if checked.texts != checked.texts_equal or (strict and not checked.passed):
            raise BadInput(_said(path, checked))
        print(_said(path, checked))
        measured = measurement.measure(model, self._tokenizer, self._profile.measurement, self._seed)
        result: dict[str, Any] = {"check": asdict(checked), "bytes": path.stat().st_size, **measured}
        numbers.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result, indent=1))

    def _over(self) -> bool:
        return time.monotonic() > self._ends


def _said(path: Path, one: Check) -> str:
    return (f"{path}: llama.cpp reads {one.texts_equal} of {one.texts} texts and says {one.prompts_equal} of "
            f"{one.prompts} greedy replies as PyTorch does")
