"""A run for reading: report.md and report.html, with what the numbers can and cannot say."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledlocal.evals.comparison import Comparison, alphas, within
from ledlocal.evals.manifest import read_manifest
from ledlocal.evals.plan import FROZEN_DATE, Plan
from ledlocal.evals.plot import draw
from ledlocal.evals.run import read_cells
from ledlocal.evals.summary import Cell, summary_of
from ledlocal.evals.tables import alpha_tables, comparison_tables, points, summary_tables
from ledlocal.tables import Table
from ledlocal.text_file import write_whole

FEW = 8
"""Problems below which intervals hold the truth clearly less often than they say (3: in 77 % of 600 simulations)."""
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
    for path in (path for path in drawn if path.suffix == ".svg"):
        # within the page, so that it can be sent on its own
        picture = b64encode(path.read_bytes()).decode()
        body = body.replace(f'src="{quote(path.name)}"', f'src="data:image/svg+xml;base64,{picture}"')
    title = html.escape(f"{manifest['model']['name']}: {', '.join(plan.tasks)}")
    page = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body>\n{body}</body></html>\n")
    written = [folder / "report.md", folder / "report.html"]
    for path, content in zip(written, (text, page), strict=True):
        write_whole(path, content)
    return [*written, *drawn]


def report_so_far(folder: Path, plan: Plan, cells: Sequence[Cell]) -> str:
    """The text of report.md for a run that may still grow, without its pictures. Raises BadInput before it began."""
    return markdown_of(plan, read_manifest(folder), cells, [])


def markdown_of(plan: Plan, manifest: Mapping[str, Any], cells: Sequence[Cell], pictures: Sequence[str]) -> str:
    """The text of report.md."""
    summary = summary_of(plan, cells)
    compared, slopes = within(plan, cells), list(alphas(cells, plan.samples))
    parts = [f"# {_plain(manifest['model']['name'])}: {_plain(', '.join(plan.tasks))}", _asked(plan, cells, summary),
             *(f"- {_plain(sentence)}" for sentence in caveats(summary)), "## Numbers",
             "In percent, with 95 % intervals (bootstrap over problems); tokens are means.",
             *_tables(summary_tables(summary))]
    if compared:
        parts += ["## Differences", "Paired over problems; `*` is what the run was made for. p from sign flips "
                  "(pass@1) and McNemar's exact test (pass@n), then by Holm's method over all of them.",
                  *(f"- {_plain(sentence)}" for sentence in map(said, compared) if sentence),
                  *_tables(comparison_tables(compared))]
    if slopes:
        parts += ["## Temperature", "Above 0: more samples are solved at a higher temperature.",
                  *_tables(alpha_tables(slopes))]
    parts += [f"![{name}]({name})" for name in pictures]
    parts += ["## How it was done", *_tables(iter([("", _facts(plan, manifest)), ("", _settings(manifest))])),
              *(f"The first question of {_plain(cell.task)}, as it was put:\n\n{_quoted(cell.questions[0])}"
                for cell in {cell.task: cell for cell in cells}.values() if cell.questions)]
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
        problems = min(row["problems"] for row in mine)
        if 0 < problems < FEW:
            yield f"{problems} problem{'s' * (problems > 1)} of {task}: an interval of so few is too narrow."


def said(one: Comparison) -> str:
    """A primary comparison as a sentence; nothing for others."""
    if not one.primary:
        return ""
    return (f"{one.method} against its control on {one.task} at temperature {one.temperature:g}, {one.measure}: "
            f"{points(one.difference)} points over {_count(one.problems, 'problem')}, adjusted p {one.adjusted:.2g}: "
            f"{one.verdict}.")


def _asked(plan: Plan, cells: Sequence[Cell], summary: Mapping[str, Any]) -> str:
    problems = {cell.task: len(cell.samples) for cell in cells}
    asked = ", ".join(f"{_count(count, 'problem')} of {_plain(task)}" for task, count in problems.items())
    judged = " and ".join(_JUDGED.get(name, name) for name in summary["grading"].split(" and "))
    return f"{asked}; {_count(plan.samples, 'sample')} of each with each method, seed {plan.seed}. Judged is {judged}."


def _facts(plan: Plan, manifest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    model, engine, build = manifest["model"], manifest["engine"], manifest["build"]
    return [("what", "value"), ("model", f"{model['name']}, {model['architecture']}, {model['layers']} layers"),
            ("model's SHA-256", model["sha256"]), ("tap", manifest["tap"]),
            ("context", f"{engine['context']} tokens, {engine['slots']} side by side, {engine['threads']} threads"),
            ("KV cache", f"{engine['kv_cache']}, {engine['cache_type_k']} and {engine['cache_type_v']}, "
                         f"flash attention {engine['flash_attention']}"),
            ("repeatable", manifest["repeatable"]),
            ("build", f"ledlocal {build['ledlocal']}, llama-cpp-python {build['llama_cpp_python']}"
                      f"{', patched' if build['patched'] else ''}"),
            ("devices", ", ".join(build["devices"])), ("shard", f"{plan.shard.number}/{plan.shard.of}"),
            ("date that templates are told", FROZEN_DATE),
            *((f"questions of {task}", f"{manifest.get('sources', {}).get(task, 'unknown')}, SHA-256 {digest}")
              for task, digest in manifest["data"].items()),
            ("command", manifest.get("asked", {}).get("command", "unknown"))]


def _settings(manifest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """How each method draws while it thinks, and how its answer where that is otherwise."""
    rows: list[tuple[str, ...]] = [("method @ temperature", "drawn by")]
    for name, phases in manifest["arms"].items():
        thinking, answer = (_drawn(phases[phase]) for phase in ("thinking", "answer"))
        rows.append((name, thinking if thinking == answer else f"{thinking}; the answer: {answer}"))
    return rows


def _drawn(sampling: Mapping[str, Any]) -> str:
    led = sampling["led"]
    chosen = {"standard": {key: sampling[key] for key in ("top_k", "top_p", "min_p", "order")},
              "control": {"k": led["k"]}, "led": led}[sampling["method"]]
    return f"{sampling['method']}, temperature {sampling['temperature']:g}, " + ", ".join(
        f"{key} {value}" for key, value in chosen.items())


def _tables(tables: Iterator[Table]) -> Iterator[str]:
    for title, rows in tables:
        if title:
            yield f"**{_plain(title)}**"
        head, *rest = [" | ".join(map(_plain, row)) for row in rows]
        yield "\n".join([f"| {head} |", f"|{'---|' * len(rows[0])}", *(f"| {row} |" for row in rest)])


def _quoted(text: str) -> str:
    return "\n".join(f"> {_plain(line)}  " for line in text.splitlines())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _plain(text: str) -> str:
    """Text that is no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else " " if c in "\r\n" else c for c in text)
