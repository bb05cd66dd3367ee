"""A run for reading: report.md and report.html, with what the numbers can and cannot say."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ledlocal.evals.comparison import Comparison, alphas, within
from ledlocal.evals.manifest import read_manifest
from ledlocal.evals.plan import Plan
from ledlocal.evals.plot import draw
from ledlocal.evals.run import read_cells
from ledlocal.evals.run_folder import write_whole
from ledlocal.evals.summary import Cell, summary_of
from ledlocal.evals.tables import Rows, alpha_rows, comparison_rows, points, summary_rows

MUCH_CUT = 0.05
"""Share of samples that were cut short, above which it is said."""
_JUDGED = {"answer": "what stands behind the thinking", "paper": "the whole completion, as in the paper"}
_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ccc; text-align: left; white-space: nowrap }
img { max-width: 100% } code { background: #eee; padding: 0 .2rem }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd } th, td { border-color: #444 }
code { background: #333 } img { background: #fff } }"""


def write_report(folder: Path) -> list[Path]:
    """Write report.md and report.html, and with the extra `plot` the pictures in them; what was written.

    Raises BadInput if it is no run, OutOfResources if it cannot be written.
    """
    from markdown_it import MarkdownIt

    plan, cells = read_cells(folder)
    manifest = read_manifest(folder)
    drawn = draw(plan, cells, folder) if find_spec("matplotlib") else []
    text = markdown_of(plan, manifest, cells, [path.name for path in drawn if path.suffix == ".svg"])
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    title = html.escape(f"{manifest['model']['name']}: {', '.join(plan.tasks)}")
    page = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body>\n{body}</body></html>\n")
    written = [folder / "report.md", folder / "report.html"]
    for path, content in zip(written, (text, page), strict=True):
        write_whole(path, content)
    return [*written, *drawn]


def markdown_of(plan: Plan, manifest: Mapping[str, Any], cells: Sequence[Cell], pictures: Sequence[str]) -> str:
    """The text of report.md."""
    summary = summary_of(plan, cells)
    compared, slopes = within(plan, cells), list(alphas(cells, plan.samples))
    parts = [f"# {_plain(manifest['model']['name'])}: {_plain(', '.join(plan.tasks))}", _asked(plan, cells, summary),
             *(f"- {sentence}" for sentence in caveats(summary)), "## Numbers",
             "In percent, with 95 % intervals (bootstrap over problems); tokens are means.",
             _table(summary_rows(summary))]
    if compared:
        parts += ["## Differences", "Paired over problems; `*` is what the run was made for. p from sign flips "
                  "(pass@1) and McNemar's exact test (pass@n), then by Holm's method over all of them.",
                  *(f"- {sentence}" for sentence in map(said, compared) if sentence), _table(comparison_rows(compared))]
    if slopes:
        parts += ["## Temperature", "Above 0: more samples are solved at a higher temperature.",
                  _table(alpha_rows(slopes))]
    parts += [f"![{name}]({name})" for name in pictures]
    parts += ["## How it was done", _table(_facts(plan, manifest))]
    return "\n\n".join(parts) + "\n"


def caveats(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know before the numbers."""
    rows = summary["rows"]
    if not summary["complete"]:
        yield "This run is not complete: its numbers are of the problems that have all samples."
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        best = [value["value"] for row in mine for value in row["pass_at"].values() if value["value"] is not None]
        if best and not max(best):
            yield f"No method solved a single problem of {task}: about their difference there this run says nothing."
        if best and min(best) == 1:
            yield f"Every method solved every problem of {task}: about their difference there this run says nothing."
        samples = sum(row["samples"] for row in mine)
        cut, unknown = (sum(row[name] for row in mine) for name in ("truncated", "not_graded"))
        if samples and cut / samples > MUCH_CUT:
            wrong = "; they count as wrong" if summary["grading"] == "answer" else ""
            yield f"{100 * cut / samples:.0f} % of the samples of {task} were cut short{wrong}."
        if unknown:
            yield f"{unknown} of {samples} samples of {task} could not be graded: they are neither right nor wrong."


def said(one: Comparison) -> str:
    """A primary comparison as a sentence; nothing for others."""
    if not one.primary:
        return ""
    return (f"**{_plain(one.method)}** against its control on {_plain(one.task)} at temperature {one.temperature:g}, "
            f"{one.measure}: {points(one.difference)} points over {one.problems} problems, adjusted p "
            f"{one.adjusted:.2g}: **{one.verdict}**.")


def _asked(plan: Plan, cells: Sequence[Cell], summary: Mapping[str, Any]) -> str:
    problems = {cell.task: len(cell.samples) for cell in cells}
    asked = ", ".join(f"{count} problems of {_plain(task)}" for task, count in problems.items())
    judged = " and ".join(_JUDGED.get(name, name) for name in summary["grading"].split(" and "))
    return f"{asked}; {plan.samples} samples of each with each method, seed {plan.seed}. Judged is {judged}."


def _facts(plan: Plan, manifest: Mapping[str, Any]) -> Rows:
    model, engine, build = manifest["model"], manifest["engine"], manifest["build"]
    return [("what", "value"), ("model", f"{model['name']}, {model['architecture']}, {model['layers']} layers"),
            ("model's SHA-256", model["sha256"]), ("tap", manifest["tap"]),
            ("context", f"{engine['context']} tokens, {engine['slots']} side by side, {engine['threads']} threads"),
            ("KV cache", f"{engine['kv_cache']}, {engine['cache_type_k']} and {engine['cache_type_v']}, "
                         f"flash attention {engine['flash_attention']}"),
            ("repeatable", manifest["repeatable"]),
            ("build", f"ledlocal {build['ledlocal']}, llama-cpp-python {build['llama_cpp_python']}"
                      f"{', patched' if build['patched'] else ''}"),
            ("devices", ", ".join(build["devices"])), ("shard", f"{plan.shard.number}/{plan.shard.of}")]


def _table(rows: Rows) -> str:
    head, *rest = [" | ".join(map(_plain, row)) for row in rows]
    return "\n".join([f"| {head} |", f"|{'---|' * len(rows[0])}", *(f"| {row} |" for row in rest)])


def _plain(text: str) -> str:
    """Text that is no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else " " if c in "\r\n" else c for c in text)
