"""What the model said in a run, for reading: which method solved which problem, and every sample in full.

The numbers of a run are of problems that have all samples; here is whatever is there so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Any

from ledlocal.evals.arm import Arm
from ledlocal.evals.plan import Plan, plan_of
from ledlocal.evals.run_folder import PLAN, SAMPLES, SCORES, Key, Sample, Score, read_problems, read_records
from ledlocal.evals.task import Problem, Problems
from ledlocal.safe_text import safe_line
from ledlocal.tables import lines
from ledlocal.terminal import DIM
from ledlocal.values.errors import BadInput
from ledlocal.values.params import require_choice
from ledlocal.wrap import WordWrap

BOLD = "1"
VERDICTS = {True: ("right", "1;38;5;28"), False: ("wrong", "1;31"), None: ("not graded", BOLD)}
"""The word and its style."""
GOLD_LEAST, GOLD_MOST, VOTE_MOST = 12, 40, 60
"""Characters of a known answer in a table on a narrow terminal, of one in a pipe, and of a vote."""

Said = tuple[Sample, Score | None]
"""A sample and what it is worth; None: not judged yet."""
Wanted = Callable[[Said], bool]
Line = tuple[str, str]
"""Text without an end of line, and its style on a terminal."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A run, or the part of it that is read."""

    plan: Plan
    problems: Problems
    samples: Mapping[Key, Sample]
    scores: Mapping[Key, Score]

    def only(self, keep: Callable[[str, Problem], bool]) -> Reading:
        """The problems that `keep(task, problem)` is true of."""
        kept = {task: [one for one in asked if keep(task, one)] for task, asked in self.problems.items()}
        return replace(self, problems={task: asked for task, asked in kept.items() if asked})

    def of_task(self, name: str) -> Reading:
        """One task. Raises BadInput."""
        require_choice("the task", name, tuple(self.problems))
        return self.only(lambda task, _problem: task == name)

    def of_problem(self, name: str) -> Reading:
        """A problem, in every task that has one of this name. Raises BadInput naming near ones."""
        found = self.only(lambda _task, problem: problem.id == name)
        if not found.problems:
            near = get_close_matches(name, {problem.id: 0 for asked in self.problems.values() for problem in asked})
            raise BadInput(f"the run has no problem {name!r}" + (f"; near: {', '.join(near)}" if near else "")
                           + "; without a PROBLEM all are listed")
        return found

    def with_arms(self, methods: tuple[str, ...], temperature: float | None) -> Reading:
        """These methods at this temperature; none named: all. Raises BadInput."""
        arms = self.plan.arms
        for method in methods:
            require_choice("a method", method, tuple(dict.fromkeys(arm.method for arm in arms)))
        if temperature is not None:
            known = tuple(dict.fromkeys(f"{arm.temperature:g}" for arm in arms))
            require_choice("the temperature", f"{temperature:g}", known)
            arms = tuple(arm for arm in arms if f"{arm.temperature:g}" == f"{temperature:g}")
        return replace(self, plan=replace(self.plan, arms=tuple(
            arm for arm in arms if not methods or arm.method in methods)))

    def where_methods_differ(self) -> Reading:
        """The problems of which two methods got another number right at the same temperature. Raises BadInput."""
        pairs = [(one, other) for one, other in combinations(self.plan.arms, 2) if one.temperature == other.temperature]
        if not pairs:
            raise BadInput("to differ, it takes two methods at the same temperature")
        return self.only(lambda task, problem: any(self.gap(task, problem, *pair) for pair in pairs))

    def said(self, task: str, problem: Problem, arm: Arm) -> list[Said]:
        """What is there of an arm's samples, in their order."""
        keys = (Key(task, problem.id, arm.method, arm.temperature, i) for i in range(self.plan.samples))
        return [(self.samples[key], self.scores.get(key)) for key in keys if key in self.samples]

    def grades(self, task: str, problem: Problem, arm: Arm) -> dict[int, bool]:
        """By sample, of those that have a grade: whether it is right."""
        return {sample.sample: score.correct for sample, score in self.said(task, problem, arm)
                if score is not None and score.correct is not None}

    def gap(self, task: str, problem: Problem, arm: Arm, other: Arm) -> int:
        """Right samples of `arm` minus those of `other`, over the samples that both have a grade of.

        So an arm that has only half of its samples yet does not look worse.
        """
        mine, theirs = self.grades(task, problem, arm), self.grades(task, problem, other)
        return sum(mine[i] - theirs[i] for i in mine.keys() & theirs.keys())

    def count(self, task: str, problem: Problem, arm: Arm) -> str:
        """Right samples of those with a grade, and the gap to the arm's control if there is one: `2/3 -1`."""
        if not self.said(task, problem, arm):
            return "-"
        grades = self.grades(task, problem, arm)
        gap = self.gap(task, problem, arm, Arm(arm.control, arm.temperature)) if arm.control else 0
        return f"{sum(grades.values())}/{len(grades)}{f' {gap:+}' if gap else ''}"

    def name(self, arm: Arm) -> str:
        """The method, with its temperature if there are several."""
        several = len({one.temperature for one in self.plan.arms}) > 1
        return safe_line(f"{arm.method} @ {arm.temperature:g}" if several else arm.method)

    @property
    def asked(self) -> list[tuple[str, Problem]]:
        """Every problem with its task, in the run's order."""
        return [(task, problem) for task, asked in self.problems.items() for problem in asked]

    def all_said(self, task: str, problem: Problem) -> list[Said]:
        """What is there of a problem's samples: by arm, then in their order."""
        return [said for arm in self.plan.arms for said in self.said(task, problem, arm)]


def read_run(path: Path) -> Reading:
    """What is in a run's folder so far. Raises BadInput."""
    return Reading(plan_of(path / PLAN), read_problems(path), read_records(path / SAMPLES, Sample),
                   read_records(path / SCORES, Score))


def wanted_of(number: int | None, grades: tuple[bool, ...]) -> Wanted:
    """Samples with this number and one of these grades; None and (): any."""
    return lambda said: (number in (None, said[0].sample)
                         and (not grades or (said[1] is not None and said[1].correct in grades)))


def record(said: Said) -> dict[str, Any]:
    """A sample with its score, without what it shares with the sample; null: not judged yet."""
    sample, score = said
    names = ("grading", "correct", "vote", "reason")
    return asdict(sample) | {"score": score and {name: getattr(score, name) for name in names}}


def overview(run: Reading, columns: int | None) -> Iterator[Line]:
    """A line per problem. `columns` of the terminal, None without one: what is too wide for it is shortened.

    Known answers come last: they may be long, and of any script.
    """
    if not run.problems:
        return
    controlled = any(arm.control for arm in run.plan.arms)
    yield f"right of graded samples{'; +1, -1: against the control' if controlled else ''}", DIM
    names = [run.name(arm) for arm in run.plan.arms]
    counts = [[run.count(*one, arm) for one in run.asked] for arm in run.plan.arms]
    places = [["problem", *(safe_line(problem.id) for _, problem in run.asked)]]
    if len(run.problems) > 1:
        places.insert(0, ["task", *(safe_line(task) for task, _ in run.asked)])

    def left(heads: list[str]) -> int:
        """Columns for the known answers."""
        taken = [max(map(len, column)) + 2 for column in (*places, *map(_under, heads, counts))]
        return columns - sum(taken) if columns else GOLD_MOST

    if left(names) < GOLD_LEAST:
        numbers = [f"#{i}" for i in range(1, len(names) + 1)]
        yield from ((f"{number}  {name}", DIM) for number, name in zip(numbers, names, strict=True))
        names = numbers
    gold = [shortened(problem.gold, max(GOLD_LEAST, left(names))) for _, problem in run.asked]
    rows = list(zip(*places, *map(_under, names, counts), _under("known answer", gold), strict=True))
    yield from ((line, BOLD if i == 0 else "") for i, line in enumerate(lines(iter([("", rows)]))))


def transcripts(run: Reading, wanted: Wanted, thinking: bool, columns: int | None) -> Iterator[Line]:
    """Problems with their samples in full; `thinking`: that, too. `columns` of the terminal, None without one.

    What others wrote is indented: none of it can look like a line of ours.
    """
    for i, (task, problem) in enumerate(run.asked):
        if i:
            yield from (("", ""), ("", ""))
        yield safe_line(f"{task} {problem.id}"), BOLD
        yield from _block(problem.question, columns)
        yield ("known answer" if problem.gold else "no known answer"), BOLD
        yield from _block(problem.gold, columns)
        yield "right of graded samples", BOLD
        yield from _block(" · ".join(f"{run.name(arm)} {run.count(task, problem, arm)}" for arm in run.plan.arms),
                          columns)
        total = run.plan.samples * len(run.plan.arms)
        if missing := total - len(run.all_said(task, problem)):
            yield f"  {missing} of {total} samples are not there yet", DIM
        for arm in run.plan.arms:
            for said in filter(wanted, run.said(task, problem, arm)):
                yield "", ""
                yield from _sample(run.name(arm), said, thinking, columns)


def _sample(name: str, said: Said, thinking: bool, columns: int | None) -> Iterator[Line]:
    sample, score = said
    word, style = VERDICTS[score.correct if score else None]
    why = (score.reason if score else "not judged yet", "cut short" if sample.finish == "length" else "", sample.reason)
    reasons = ", ".join(filter(None, dict.fromkeys(why)))
    yield safe_line(f"{name}, sample {sample.sample}: {word}{f' ({reasons})' if reasons else ''}"), style
    facts = (f"{sample.thinking_tokens} thinking + {sample.answer_tokens} answer tokens · explored {sample.explored}, "
             f"changed {sample.changed} · ")
    room = min(VOTE_MOST, max(GOLD_LEAST, columns - len(f"{facts}vote "))) if columns else VOTE_MOST
    yield facts + (f"vote {shortened(score.vote, room)}" if score and score.vote is not None else "no vote"), DIM
    if thinking:
        yield from _block(sample.thinking, columns, "  | ", DIM)
    yield from _block(sample.answer, columns)


def _under(head: str, column: list[str]) -> list[str]:
    return [head, *column]


def _block(text: str, columns: int | None, indent: str = "  ", style: str = "") -> Iterator[Line]:
    """Foreign text, every line indented; on a terminal broken between words."""
    text = text.strip("\n")
    if columns and text:
        parts: list[str] = []
        room = max(20, columns - len(indent))
        # whole words come, so that none is ever taken back
        WordWrap(lambda part, _style: parts.append(part), lambda _columns: None, lambda: room).write(text)
        text = "".join(parts)
    if text:
        yield from ((f"{indent}{line}".rstrip(), style) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """Foreign text on one line of so many characters."""
    text = safe_line(text)
    return text if len(text) <= most else text[:most - 3] + "..."
