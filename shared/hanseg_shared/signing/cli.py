"""The command `hanseg verify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanseg_shared.errors import OptionError, OutputError, ServiceUnavailableError
from hanseg_shared.settings import read_settings
from hanseg_shared.terminal import json_option, print_event, tell

if TYPE_CHECKING:
    from hanseg_shared.signing.keys import PublicKey
    from hanseg_shared.signing.verify import Verification

SENTENCES = {
    "changed": "{} is not the file that was signed",
    "missing": "{} was signed and is not there",
    "added": "{} is there and was not signed",
    "altered manifest": "{} is not what its signature was made of",
    "another key": "the results were signed by another key: {}",
}
"""What a finding means, by its kind."""


@click.command()
@click.argument(
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key that must have signed: PEM, or a line of base64.",
)
@click.option(
    "--url",
    help="Service whose keys must have signed.  [default: HANSEG_URL, or your own key "
    "and the service here]",
)
@json_option
def verify(folder: Path, key: Path | None, url: str | None, as_json: bool) -> None:
    """Check that the results in DIR are those that the service signed.

    DIR can also be the sheet that `hanseg commission` wrote.

    It tells what was changed, what is missing, what was added, and whether another key
    signed. The keys are those of --key or of the service at --url, or else your own,
    which signs what commands make without a service, and those of the running service.
    """
    from hanseg_shared.signing.verify import verify_folder

    if key is not None and url is not None:
        raise OptionError("--key and --url name the keys twice; give one of them")
    found = verify_folder(folder, _trusted(key, url))
    for each in found.findings:
        sentence = SENTENCES[each.kind].format(each.what)
        tell("finding", sentence, as_json=as_json, kind=each.kind, what=each.what)
    if found.findings:
        raise OutputError(
            f"{folder} is not what was signed; what differs stands above. "
            f"{found.remedy}"
        )
    _report_whole(folder, found, as_json=as_json)


def _trusted(key: Path | None, url: str | None) -> tuple[PublicKey, ...]:
    from hanseg_shared.signing.keys import own_keys, read_public_keys

    if key is not None:
        return read_public_keys(key)
    named = url or os.environ.get("HANSEG_URL")
    own = () if named else own_keys(read_settings())
    try:
        return (*own, *_keys_of_service(url))
    except ServiceUnavailableError:
        if not own:
            raise
        return own


def _keys_of_service(url: str | None) -> tuple[PublicKey, ...]:
    from hanseg_shared.client.session import open_running
    from hanseg_shared.signing.keys import PublicKey

    with open_running(url) as client:
        return tuple(PublicKey(each) for each in client.signing_keys())


def _report_whole(folder: Path, found: Verification, *, as_json: bool) -> None:
    from hanseg_shared.signing.manifest import Manifest

    files = len(found.signed.files)
    if as_json:
        job = found.signed.job if isinstance(found.signed, Manifest) else None
        print_event(
            "verified",
            what=found.what,
            job=job,
            files=files,
            key=found.key.text,
            key_id=found.key.id,
        )
        return
    click.echo(
        f"{folder} is what was signed: {files} files of {found.what}, "
        f"key {found.key.id}"
    )
