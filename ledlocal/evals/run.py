"""From a plan and a model to a finished run; and a finished run's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledlocal.evals import code
from ledlocal.evals.benchmark import PUBLISHED
from ledlocal.evals.catalog import data_sha256, judge_of, source_of, task_of
from ledlocal.evals.evaluation import Evaluation, graded_text, score_of, settled_grade
from ledlocal.evals.grading import Grader, require_sound
from ledlocal.evals.manifest import KEPT, comparable, engine_of, manifest_of, read_manifest
from ledlocal.evals.observer import Observer
from ledlocal.evals.plan import Plan, first_difference, plan_of
from ledlocal.evals.run_folder import (
    MANIFEST,
    PLAN,
    PROBLEMS,
    SAMPLES,
    SCORES,
    SUMMARY,
    RunFolder,
    Sample,
    Score,
    read_problems,
    read_records,
    to_lines,
    to_records,
)
from ledlocal.evals.summary import Cell, cells, summary_of, to_text
from ledlocal.evals.task import Asked, Grade, Problems
from ledlocal.runtime.build import Build
from ledlocal.runtime.cores import physical_cores
from ledlocal.runtime.plan import DEFAULT_CONTEXT
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.events import Loaded
from ledlocal.values.params import EngineOptions
from ledlocal.worker.client import Worker

SLOTS, GPU_SLOTS = 32, 128
"""Samples side by side, at most, where the user names no number."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The model of a run."""

    name: str
    """As the user wrote it."""
    sha256: str
    options: EngineOptions
    """With `slots` and `context` as far as they were asked for."""
    trained: int
    """Context of its training, in tokens."""
    slots: int | None
    """None: as many as fit."""
    build: Build
    command: str
    """What the user typed."""

    @property
    def asked(self) -> dict[str, int | None]:
        """What the user wants of KEPT; None: whatever fits."""
        return {"context": self.options.context, "slots": self.slots, "threads": self.options.threads}


@dataclass(frozen=True, slots=True)
class Questions:
    """What a run asks."""

    asked: Asked
    data: dict[str, str]
    """SHA-256 by task."""
    sources: dict[str, str]
    """What the questions of each task came from, in words."""

    @property
    def problems(self) -> Problems:
        """Without their graders."""
        return {name: problems for name, (_, problems) in self.asked.items()}


def questions(plan: Plan, files: Mapping[str, Path], wording: str | None = None) -> Questions:
    """The tasks of a plan and their problems; `wording`: how questions of files are put. Raises BadInput."""
    asked, data, sources = {}, {}, {}
    for name in plan.tasks:
        task = task_of(name, files, plan.grading, wording)
        problems = task.problems()
        asked[name] = (task, plan.asked(problems))
        data[name] = data_sha256(problems)
        sources[name] = source_of(name, files)
    return Questions(asked, data, sources)


def require_answers(grader: Grader, questions: Questions) -> None:
    """Raise BadInput unless every known answer passes its own grader, and an empty one fails."""
    for task, problems in questions.asked.values():
        if task.graded:
            require_sound(grader, task, problems)


def require_same(what: str, before: object, now: object) -> None:
    """Raise BadInput naming the first difference."""
    if found := first_difference(before, now):
        name, old, new = found
        raise BadInput(f"{what}: {name} is {_shown(old)} there, and {_shown(new)} now; give another --out, or the same "
                       "command again")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_same_run(folder: RunFolder, plan: Plan, questions: Questions, subject: Subject) -> None:
    """Raise BadInput naming the first difference unless a run that has begun asks the same of the same model."""
    path = folder.path
    if not (path / MANIFEST).exists():
        if folder.samples():
            raise BadInput(f"{path}: there are samples, and no {MANIFEST} that says what they are of")
        return
    require_same(str(path / PLAN), plan_of(path / PLAN).table(), plan.table())
    manifest = read_manifest(path)
    require_same(str(path / MANIFEST), {"model.sha256": manifest["model"]["sha256"], "data": manifest["data"]},
                 {"model.sha256": subject.sha256, "data": questions.data})
    engine, asked = manifest["engine"], manifest.get("asked", {})
    now = json.loads(json.dumps(engine_of(subject.options)))
    for key, value in subject.asked.items():  # what the machine chose is kept, unless the user wants something else
        now[key] = engine[key] if value in (None, asked.get(key)) else value
    require_same(str(path / MANIFEST), {"engine": {key: engine[key] for key in now if key in engine}},
                 {"engine": {key: value for key, value in now.items() if key in engine}})
    if read_problems(path) != {name: list(problems) for name, problems in questions.problems.items()}:
        raise BadInput(f"{path / PROBLEMS} does not hold the questions that {MANIFEST} tells of")


def evaluate(folder: RunFolder, plan: Plan, questions: Questions, subject: Subject,
             observer: Observer) -> dict[str, Any]:
    """Sample and judge what is missing; the summary. Raises LedlocalError; what was finished is kept."""
    if not any(problems for _, problems in questions.asked.values()):
        raise BadInput(f"shard {plan.shard.number}/{plan.shard.of} has no problem")
    require_same_run(folder, plan, questions, subject)
    starter = Starter(subject, plan, questions, folder, observer.note)
    with Grader() as grader:
        evaluation = Evaluation(folder, plan, questions.asked, grader, observer)
        if not evaluation.complete:
            require_answers(grader, questions)
        evaluation.run(starter.start)
    return summarize(folder)


def regrade(folder: RunFolder, grading: str) -> dict[str, Any]:
    """Judge every sample anew, without the model; the summary. Raises LedlocalError."""
    plan = replace(plan_of(folder.path / PLAN), grading=grading)
    problems = {(task, problem.id): problem for task, asked in read_problems(folder.path).items() for problem in asked}
    tasks = {name: judge_of(name, grading) for name in plan.tasks}
    with Grader() as grader:
        waiting = [(sample, settled_grade(sample, grading, tasks[sample.task].graded) or grader.submit(
            tasks[sample.task], problems[sample.task, sample.problem], graded_text(sample, grading)))
            for sample in folder.samples().values()]
        scores = [score_of(sample, grading, one if isinstance(one, Grade) else grader.grade_of(one))
                  for sample, one in waiting]
    folder.write(SCORES, to_records(scores))
    return summarize(folder)


def read_cells(path: Path) -> tuple[Plan, list[Cell]]:
    """What is in a run's folder so far. Raises BadInput."""
    plan = plan_of(path / PLAN)
    samples, scores = read_records(path / SAMPLES, Sample), read_records(path / SCORES, Score)
    return plan, cells(plan, read_problems(path), samples, scores)


def summarize(folder: RunFolder) -> dict[str, Any]:
    """Write summary.json; its content."""
    plan, found = read_cells(folder.path)
    summary = summary_of(plan, found)
    folder.write(SUMMARY, to_text(summary))
    for cell in found:
        if cell.task in PUBLISHED and PUBLISHED[cell.task].kind == "code":
            answers = ((sample.problem, sample.answer) for row in cell.samples for sample in row)
            name = f"{cell.task}-{cell.arm.method.replace(':', '-')}-{cell.arm.temperature:g}.json"
            folder.write(name, code.export(answers))
    return summary


class Starter:
    """Starts the model's process as the first session did, and sees that it is the same model."""

    def __init__(self, subject: Subject, plan: Plan, questions: Questions, folder: RunFolder,
                 note: Callable[[str], None]) -> None:
        self._subject, self._plan, self._questions = subject, plan, questions
        self._folder, self._note = folder, note
        total = plan.samples * len(plan.arms) * sum(len(problems) for _, problems in questions.asked.values())
        self._most = min(total, GPU_SLOTS if any(device.gpu for device in subject.build.devices) else SLOTS)

    def start(self) -> Worker:
        """A loaded model. Raises BadInput if it is not what the manifest says."""
        path = self._folder.path / MANIFEST
        before = read_manifest(self._folder.path) if path.exists() else None
        options = self._subject.options
        if before is not None:
            options = replace(options, **{key: before["engine"][key] for key in KEPT})
            worker = Worker(options)
        else:
            options, worker = self._fitting(replace(options, threads=options.threads or physical_cores()))
        try:
            self._require_able(worker.loaded)
            for notice in worker.loaded.notices:
                self._note(notice)
            for arm in self._plan.arms:
                for notice in arm.notices(worker.loaded):  # it would draw as another one does, under its own name
                    raise BadInput(f"method {arm.method}: {notice}")
            manifest = manifest_of(self._subject.name, self._subject.sha256, worker.loaded, options,
                                   {**self._subject.asked, "command": self._subject.command}, self._subject.build,
                                   self._plan.arms, self._questions.data, self._questions.sources)
            if before is not None:
                require_same(str(path), comparable(before), comparable(manifest))
            else:
                self._folder.write(PROBLEMS, to_lines(self._questions.problems))
                self._folder.write(PLAN, self._plan.to_toml())
                self._folder.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")  # the last: now it has begun
        except BaseException:
            worker.close()
            raise
        return worker

    def _require_able(self, loaded: Loaded) -> None:
        """Raise BadInput for what would make every sample of a method invalid, for good."""
        if not loaded.model.chat_template:
            raise BadInput(f"{self._subject.name} has no chat template; give one with --chat-template-file")
        for arm in self._plan.arms:
            if loaded.tap == "none" and "led" in [sampling.method for sampling in arm.sampling(loaded)]:
                raise BadInput(f"method {arm.method} needs intermediate layers, and no tap runs: "
                               f"{' '.join(loaded.notices) or 'see ledlocal doctor'}")

    def _fitting(self, options: EngineOptions) -> tuple[EngineOptions, Worker]:
        """With as many slots as fit beside the context that is wanted, down to one."""
        context = options.context or min(self._subject.trained, DEFAULT_CONTEXT)
        slots = self._subject.slots or self._most
        while True:
            wanted = replace(options, context=context, slots=slots)
            try:
                return wanted, Worker(wanted)
            except OutOfResources:
                if self._subject.slots or slots == 1:
                    raise
                slots //= 2
                self._note(f"no memory for more than {slots} samples side by side")
