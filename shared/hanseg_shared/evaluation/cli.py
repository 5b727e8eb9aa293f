"""`hanseg evaluate`, `rank` and `feedback`: how good contours are, from the shell."""

from __future__ import annotations

from pathlib import Path

import click

from hanseg_shared.evaluation.empty import EmptyRule

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("predictions", type=EXISTING)
@click.argument("references", type=EXISTING)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option(
    "--empty",
    type=click.Choice([rule.value for rule in EmptyRule]),
    default=EmptyRule.REFUSE.value,
    show_default=True,
    help="What becomes of organs that only one side has: named as an error; scored as "
    "the challenge does (missed: Dice 0; not in the reference: left out); or strictly "
    "(not in the reference: Dice 0 too).",
)
@click.option(
    "--tolerances",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV (organ,tolerance_mm) for the surface Dice.  [default: see the docs]",
)
@click.option("--workers", type=int, help="Cases at a time.  [default: by the machine]")
def evaluate(
    predictions: Path,
    references: Path,
    out: Path,
    empty: str,
    tolerances: Path | None,
    workers: int | None,
) -> None:
    """Score predicted masks against references, per organ and case.

    Both are folders (or single files) of label maps, of one mask an organ, or of
    HaN-Seg cases; cases are matched by name, and their grids must be the same.
    """
    from hanseg_shared.evaluation import console
    from hanseg_shared.evaluation.evaluation import evaluate as run
    from hanseg_shared.evaluation.score_cases import Scoring
    from hanseg_shared.evaluation.tolerances import default_tolerances, read_tolerances

    limits = read_tolerances(tolerances) if tolerances else default_tolerances()
    scoring = Scoring(EmptyRule(empty), limits)
    with console.case_bar() as bar:
        evaluation = run(
            predictions,
            references,
            out,
            scoring,
            workers=workers,
            on_start=bar.start,
            on_done=bar.advance,
        )
    console.print_evaluation(evaluation)
    click.echo(f"results: {out}", err=True)
