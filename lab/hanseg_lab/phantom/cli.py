"""The command `hanseg phantom`: simulated cases on disk, in HaN-Seg's layout."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hanseg_shared.terminal import json_option, tell

AROUND = ("head-rest", "mask", "circle")


@click.command()
@click.option("--count", type=click.IntRange(1, 999), default=1, show_default=True)
@click.option("--first-seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--spacing",
    type=click.FloatRange(0.5, 10.0),
    default=1.5,
    show_default=True,
    help="In-plane spacing of the CT in mm; slices are at least 2.5 mm.",
)
@click.option(
    "--around",
    multiple=True,
    type=click.Choice(AROUND),
    help="What the CT shows besides patient and couch: a head rest, a thermoplastic "
    "mask, or only the scan's circle, which may cut the shoulders. Repeat for several; "
    "patient and MR stay the same.",
)
@click.option(
    "--undrawn",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    show_default=True,
    help="Share of the organs that get no mask, as in some of HaN-Seg's cases.",
)
@click.option("--ct-only", is_flag=True, help="Make no MR.")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data set; created if need be.",
)
@json_option
def phantom(
    *,
    count: int,
    first_seed: int,
    spacing: float,
    around: tuple[str, ...],
    undrawn: float,
    ct_only: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Write simulated patients as HaN-Seg cases: CT, T1 MR and 30 organs."""
    from hanseg_lab.phantom.folder import choose_undrawn, write_han_seg_case
    from hanseg_lab.phantom.phantom_case import make_case
    from hanseg_lab.phantom.surroundings import Surroundings

    surroundings = Surroundings(
        head_rest="head-rest" in around,
        mask="mask" in around,
        circle="circle" in around,
    )
    slices = max(2.5, spacing)
    seeds = range(first_seed, first_seed + count)
    with click.progressbar(seeds, label="patients", file=sys.stderr) as bar:
        for seed in bar:
            case = make_case(
                seed,
                ct_spacing=(spacing, spacing, slices),
                mr=not ct_only,
                surroundings=surroundings,
            )
            left_out = choose_undrawn(seed, share=undrawn)
            write_han_seg_case(case, out, undrawn=left_out)
    tell("phantoms", f"{count} cases in {out}", as_json=as_json, out=str(out))
