"""`hanseg templates`: the templates of structure sets that a service knows."""

from __future__ import annotations

from pathlib import Path

import click

from hanseg_shared.client.jobs_cli import of_a_service, running_service
from hanseg_shared.terminal import print_event, table_of, tell


@click.group()
def templates() -> None:
    """List, show and save what structure sets hold, on a running service."""


@templates.command("list")
@of_a_service
def list_templates(url: str | None, as_json: bool) -> None:
    """List the templates, each with its newest version."""
    from rich.console import Console

    with running_service(url) as client:
        found = client.templates()
    if as_json:
        for each in found:
            print_event("template", **each)
        return
    headings = ("name", "version", "structures", "label", "description")
    rows = [[str(each[heading]) for heading in headings] for each in found]
    Console().print(table_of(headings, rows, right=headings[1:3]))


@templates.command()
@click.argument("name")
@of_a_service
def show(name: str, url: str | None, as_json: bool) -> None:
    """Print the template NAME, or NAME@VERSION, as JSON."""
    with running_service(url) as client:
        found = client.template(name)
    if as_json:
        print_event("template", **found.model_dump(mode="json"))
    else:
        click.echo(found.model_dump_json(indent=2))


@templates.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@of_a_service
def put(file: Path, url: str | None, as_json: bool) -> None:
    """Save the template in FILE as a new version."""
    from hanseg_shared.client.cli import read_template

    template = read_template(file)
    with running_service(url) as client:
        saved = client.save_template(template)
    tell(
        "saved",
        f"{saved.name}@{saved.version}",
        as_json=as_json,
        name=saved.name,
        version=saved.version,
    )
