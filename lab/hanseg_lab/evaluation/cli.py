"""`hanseg evaluate`, `rank` and `feedback`: how good contours are, from the shell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hanseg_lab.evaluation.empty import EmptyRule
from hanseg_shared.client.key import key_option
from hanseg_shared.errors import OptionError
from hanseg_shared.terminal import json_option, print_event, print_figures

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("predictions", type=EXISTING)
@click.argument("references", type=EXISTING)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option(
    "--empty",
    type=click.Choice([rule.value for rule in EmptyRule]),
    help="How organs are scored that only one side has: named as an error (refuse, "
    "the default); scored as the challenge does (missed: Dice 0; not in the reference: "
    "left out); left out (common); or scored strictly (not in the reference: Dice 0 "
    "too).",
)
@click.option(
    "--common", is_flag=True, help="Score what both have: the same as --empty common."
)
@click.option(
    "--labels",
    multiple=True,
    metavar="FILE|NAME",
    help="What the numbers of label maps stand for, where their folder does not say: "
    "CSV (value,organ; several organs joined by +; nothing for none of ours), a "
    "dataset.json, or han-seg, matched or openkbp. Given twice: the predictions', then "
    "the references'.",
)
@click.option(
    "--tolerances",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV (organ,tolerance_mm) for the surface Dice.  [default: see the docs]",
)
@click.option(
    "--ct",
    type=EXISTING,
    help="The CT that contours are drawn on (a file, a folder of DICOM slices, or a "
    "folder with either for each case).  [default: the other side's grid]",
)
@click.option("--workers", type=int, help="Cases at a time.  [default: by the machine]")
@json_option
def evaluate(
    predictions: Path,
    references: Path,
    out: Path,
    empty: str | None,
    common: bool,
    labels: tuple[str, ...],
    tolerances: Path | None,
    ct: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Score predicted masks against references, per organ and case.

    Both are folders (or single files) of label maps, of one mask an organ, of DICOM
    structure sets or segmentations, or of HaN-Seg cases; cases are matched by name,
    and their grids must be the same.
    """
    from hanseg_lab.evaluation import console
    from hanseg_lab.evaluation.evaluation import evaluate as run
    from hanseg_lab.evaluation.score_cases import Scoring
    from hanseg_lab.evaluation.tolerances import read_tolerances
    from hanseg_shared.metrics.tolerances import default_tolerances

    limits = read_tolerances(tolerances) if tolerances else default_tolerances()
    scoring = Scoring(_empty_rule(empty, common=common), limits)
    if len(labels) > 2:
        raise OptionError(f"--labels can be given twice, got {', '.join(labels)}")
    with console.case_progress(as_json=as_json) as progress:
        evaluation = run(
            predictions,
            references,
            out,
            scoring,
            labels=labels,
            ct=ct,
            workers=workers,
            on_start=progress.start,
            on_done=progress.advance,
        )
    console.print_evaluation(evaluation, out, as_json=as_json)


def _empty_rule(empty: str | None, *, common: bool) -> EmptyRule:
    if common and empty not in {None, EmptyRule.COMMON.value}:
        raise OptionError(f"--common and --empty {empty} contradict each other")
    if common:
        return EmptyRule.COMMON
    return EmptyRule.REFUSE if empty is None else EmptyRule(empty)


@click.command()
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--out", type=FOLDER, required=True, help="Folder for the report.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level.")
@click.option(
    "--sides",
    type=click.Choice(["two", "one"]),
    default="two",
    show_default=True,
    help="Two-sided or one-sided tests.",
)
@click.option(
    "--zeros",
    type=click.Choice(["wilcox", "pratt"]),
    default="wilcox",
    show_default=True,
    help="Pairs without a difference: dropped, or ranked first and then dropped.",
)
@click.option(
    "--correction",
    type=click.Choice(["pairs", "rivals", "tests", "none"]),
    default="pairs",
    show_default=True,
    help="Bonferroni's factor: pairs of methods, rivals of each, pairs times metrics.",
)
@click.option(
    "--worst",
    type=click.Choice(["values", "means"]),
    default="values",
    show_default=True,
    help="What a missed organ's distance becomes: the worst value of all methods for "
    "that organ, or the worst of their means.",
)
@click.option(
    "--bootstrap",
    type=int,
    default=1000,
    show_default=True,
    help="Number of bootstrap samples for the stability of the ranks; 0 for none.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap."
)
@click.option(
    "--paper", is_flag=True, help="Show the challenge's published results beside."
)
@click.option(
    "--paper-table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Published results from this file (metric,organ,method,mean,sd,median,iqr).",
)
@json_option
def rank(
    results: tuple[Path, ...],
    out: Path,
    alpha: float,
    sides: str,
    zeros: str,
    correction: str,
    worst: str,
    bootstrap: int,
    seed: int,
    paper: bool,
    paper_table: Path | None,
    as_json: bool,
) -> None:
    """Rank methods by their results.csv, as the challenge does.

    A method is named by its file, or by its folder if the file is called results.csv.
    """
    from hanseg_lab.evaluation import console
    from hanseg_lab.evaluation.methods import Worst
    from hanseg_lab.evaluation.paper import read_paper_table, read_published
    from hanseg_lab.evaluation.rank_report import rank_files
    from hanseg_lab.evaluation.ranking import Correction, RankingOptions
    from hanseg_lab.evaluation.wilcoxon import Sides, Zeros

    options = RankingOptions(
        alpha, Sides(sides), Zeros(zeros), Correction(correction), Worst(worst)
    )
    table = read_published() if paper else None
    if paper_table is not None:
        table = read_paper_table(paper_table)
    with console.working(f"ranking, and again with {bootstrap} sets of cases"):
        standing = rank_files(
            results, out, options, samples=bootstrap, seed=seed, paper=table
        )
    console.print_standing(standing, out, as_json=as_json)


@click.command()
@click.argument("job", required=False)
@click.argument("corrected", type=EXISTING, required=False)
@click.option("--url", help="The service.  [default: HANSEG_URL, then this machine]")
@click.option("--out", type=FOLDER, help="Folder for the drift and a table of it all.")
@click.option("--model", help="Only what this model contoured: name and version.")
@key_option
@json_option
def feedback(
    job: str | None,
    corrected: Path | None,
    url: str | None,
    out: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Send what a clinician changed of a JOB's masks, and show the drift.

    JOB is a job's id or the folder of its results, CORRECTED a label map, a DICOM
    structure set or segmentation, or a folder with a mask an organ. The service keeps
    them with what is corrected in its page. Without both, the drift is only shown.
    """
    from hanseg_lab.evaluation.correction_drift import drift_rows, drifts, write_drift
    from hanseg_lab.evaluation.feedback import (
        find_job,
        read_corrections,
        send_corrected,
    )
    from hanseg_shared.client.session import open_running

    if job is not None and corrected is None:
        raise click.UsageError("CORRECTED is missing: the clinician's masks")
    with open_running(url) as client:
        if job is not None and corrected is not None:
            send_corrected(
                client,
                find_job(job),
                corrected,
                on_sent=lambda path: click.echo(f"sent: {path}", err=True),
            )
        known = read_corrections(client, model=model)
    if out is not None:
        write_drift(known, out)
    found = drifts(known)
    if as_json:
        organs = [asdict(each) for each in found]
        print_event("drift", organs=organs, out=None if out is None else str(out))
        return
    print_figures(drift_rows(found))
    if out is not None:
        click.echo(f"results: {out}", err=True)
