"""`ledlocal samples`: what the model said in a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("problem", required=False)
@click.option("--task", metavar="NAME", help="This task alone.")
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="This method alone; may be repeated.")
@click.option("--temp", type=float, metavar="T", help="This temperature alone.")
@click.option("--differ", is_flag=True, help="Problems on which the methods shown differ.")
@click.option("--sample", type=click.IntRange(min=0), metavar="N", help="This sample of each method alone.")
@click.option("--right", is_flag=True, help="Samples that are right.")
@click.option("--wrong", is_flag=True, help="Samples that are wrong.")
@click.option("--thinking", is_flag=True, help="Show the thinking, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sample, with its score.")
def samples(run: Path, problem: str | None, task: str | None, methods: tuple[str, ...], temp: float | None,
            differ: bool, sample: int | None, right: bool, wrong: bool, thinking: bool, as_json: bool) -> None:
    """What the model said in RUN, finished or not: to PROBLEM in full, without one a line per problem.

    \b
    ledlocal samples RUN --differ | less         right/graded samples of each method; +1, -1: against its control
    ledlocal samples RUN PROBLEM --sample 0      one sample of each method, drawn with the same random numbers
    ledlocal samples RUN --wrong | less          all wrong samples: --sample, --right, --wrong and --thinking show
                                                 the samples of every problem
    """
    from ledlocal.evals.reading import overview, read_run, record, transcripts, wanted_of
    from ledlocal.evals.run_folder import to_records
    from ledlocal.terminal import Console
    from ledlocal.wrap import terminal_columns

    console = Console()
    reading = read_run(run).with_arms(methods, temp)
    if task is not None:
        reading = reading.of_task(task)
    if problem is not None:
        reading = reading.of_problem(problem)
    if differ:
        reading = reading.where_methods_differ()
    grades = (True,) * right + (False,) * wrong
    wanted = wanted_of(sample, grades)
    if as_json:
        for one in reading.asked:
            console.out.write(to_records(map(record, filter(wanted, reading.all_said(*one)))))
        return
    columns = terminal_columns() - 1 if console.out.tty else None
    if problem is None and not (sample is not None or grades or thinking):
        shown = overview(reading, columns)
    else:
        if problem is None:
            reading = reading.only(lambda *one: any(map(wanted, reading.all_said(*one))))
        shown = transcripts(reading, wanted, thinking, columns)
    for text, style in shown:
        console.out.write(text, style)
        console.out.write("\n")
    if not reading.problems:
        console.info("the run has nothing like this")
