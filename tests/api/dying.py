"""A process that submits a case and dies at each of its steps in turn.

``python -m tests.api.dying CONFIGURATION``: each submission is made by a forked child.
The first kills itself (SIGKILL) at its first step, the next at its second, until one
gets to its end. Steps are statements and commits before they are executed, and files
stored and messages sent before and after: whoever dies after a statement leaves what
one leaves who dies before the next. The number of submissions is printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.schemas import BatchRequest
from hanseg_segmentation.api.intake.batch_submission import submit_batch
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.received import Submission
from hanseg_segmentation.api.intake.submission import submit
from hanseg_segmentation.api.reservations import Reservations
from hanseg_segmentation.api.versions import Versions
from hanseg_shared.documents import JobOptions
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.database import database_time
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.files import hash_file
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from tests.api.fakes import CT, FakeChecker
from tests.jobs.fakes import FakePublisher

KINDS = ("job", "batch")


def open_context(
    database: str, data: Path, models: Path, *, later_seconds: float = 0.0
) -> Context:
    """Open what a submission works with, at a time that may be later."""
    opened = open_database(
        database, clock=lambda connection: database_time(connection) + later_seconds
    )
    settings = Settings(
        data=data, min_free_bytes=0, max_unfinished_jobs=10_000, batch_root=data / "in"
    )
    services = Services(
        Tables.of(opened, retention_seconds=3600.0),
        PayloadStore(settings.store),
        FakePublisher(),
        settings,
    )
    room = Reservations(lambda: 1 << 40, least=0)
    versions = Versions(services.tables.jobs.versions, every=0.5)
    return Context(
        services,
        FakeChecker(),
        _convert_nothing,
        (models,),
        room=room,
        versions=versions,
    )


def _convert_nothing(*_: object) -> Any:
    raise AssertionError("no DICOM was sent")


def send(context: Context, kind: str, key: str) -> str:
    """Submit the case, or the batch of two, that is named by its key."""
    data = context.services.settings.data
    if kind == "batch":
        asked = BatchRequest.model_validate({"name": key, "folder": "ward"})
        return submit_batch(context, asked, data, Halt(), owned_by="local", key=key).id
    ct = data / "ct"
    submission = Submission(
        ct=Image(ct, hash_file(ct)), mr=None, options=JobOptions(), case=key
    )
    return submit(context, submission, data, Halt(), owned_by="local", key=key).id


def prepare(data: Path) -> None:
    """Write the images that are sent."""
    for name in ("a", "b"):
        folder = data / "in" / "ward" / name
        folder.mkdir(parents=True)
        (folder / "ct.nii.gz").write_bytes(CT)
    (data / "ct").write_bytes(CT)


def die_at(step: int, context: Context) -> None:
    """Have this process killed at a step of what it does from now on."""
    left = step

    def pass_step(*_: object, **__: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            pass_step()
            done = function(*args, **kwargs)
            pass_step()
            return done

        return wrapped

    engine = context.services.tables.database.engine
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(engine, event, pass_step)
    for owner, name in (
        (PayloadStore, "put"),
        (FakePublisher, "publish"),
    ):
        setattr(owner, name, around(getattr(owner, name)))


def main() -> None:
    """Fork submissions until one lives."""
    told = json.loads(sys.argv[1])
    database, data, models, kind = told
    step = 0
    while True:
        step += 1
        child = os.fork()
        if child == 0:
            context = open_context(database, Path(data), Path(models))
            die_at(step, context)
            send(context, kind, f"{kind}-{step}")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
    print(step)  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
