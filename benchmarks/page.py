"""The page in Chromium: the worklist with 1,000 jobs, and the viewer with a large case.

    make bench-page                      the figures beside those asked for
    make bench-page JSON=1               the figures, as JSON
    make pictures-page                   pictures of every page, for the documentation

Jobs are written to the database as a worker would leave them; no worker runs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import page_pictures, page_viewer
from playwright.sync_api import Browser, sync_playwright

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.server import Server, configure
from hanseg_shared.documents import (
    InputSummary,
    JobOptions,
    MrVerdict,
    OrganResult,
    Problem,
    Progress,
    RegistrationReport,
)
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.services import Services, open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.settings import Settings

CHROMIUM = os.environ.get("HANSEG_TEST_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
JOBS = 1000
LOADS = 5


class _NoBroker:
    """Takes messages that no worker reads."""

    def publish(self, *_: object, **__: object) -> None:
        """Send nothing."""

    def check(self, *_: object, **__: object) -> None:
        """Be there."""


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, Services]]:
    """Serve the API on a free port; yields its address and its tables."""
    settings = Settings(data=folder, port=0, min_free_bytes=0)
    tables = open_tables(settings)
    store = PayloadStore(settings.store)
    store.bind(tables.installation.identity())
    services = Services(tables, store, _NoBroker(), settings)  # type: ignore[arg-type]
    app = create_app(services, reconcile=False)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(
        configure(app, grace_seconds=1), stopping=app.state.context.stopping
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", services
    finally:
        app.state.context.stopping.set()
        server.should_exit = True
        thread.join(10)
        tables.close()


def fill(services: Services, count: int) -> None:
    """Write jobs: most are done, the last ones wait or run, some have failed."""
    for index in range(count):
        job_id = f"{index:032x}"
        services.tables.jobs.create(
            NewJob(
                id=job_id,
                inputs=_inputs(with_mr=index % 4 != 3),
                options=JobOptions(),
                case_name=f"HN_{index:04d}",
            )
        )
        left = count - index
        if left > 4:
            _work(services, job_id, index)
        elif left > 2:
            _begin(services, job_id, done=0.35 if left == 4 else 0.0)


def _inputs(*, with_mr: bool) -> tuple[InputSummary, ...]:
    roles = ("ct", "mr") if with_mr else ("ct",)
    return tuple(
        InputSummary(
            role=role,
            sha256="0" * 64,
            bytes=70_000_000,
            format="dicom",
            size=(512, 512, 150),
            spacing_mm=(1.0, 1.0, 2.5),
        )
        for role in roles
    )


def _begin(services: Services, job_id: str, *, done: float) -> None:
    claims = services.tables.claims
    for stage, share in ((Stage.REGISTER, None), (Stage.SEGMENT, done)):
        job = claims.claim(job_id, stage, lease_seconds=3600.0)
        assert job is not None
        assert job.token is not None
        if share is None:
            claims.finish_stage(job, stage, StageResult())
        else:
            progress = Progress(stage=stage.state, done=share)
            claims.renew(job_id, job.token, lease_seconds=3600.0, progress=progress)


def _work(services: Services, job_id: str, index: int) -> None:
    claims = services.tables.claims
    verdict = [MrVerdict.USED, MrVerdict.USED, MrVerdict.REJECTED, MrVerdict.ABSENT]
    flags = (Flag.of(FlagCode.FEW_VOXELS, 3),) * (index % 3 == 0)
    organs = tuple(
        OrganResult(
            name=organ.name,
            label=organ.label,
            status=OrganStatus.CONTOURED,
            volume_ml=12.0,
            flags=flags if organ.label < 4 else (),
        )
        for organ in ORGANS
    )
    for stage in Stage:
        job = claims.claim(job_id, stage, lease_seconds=60.0)
        assert job is not None
        if stage is Stage.SEGMENT and index % 25 == 7:
            problem = Problem(
                type="urn:hanseg:problem:out-of-memory",
                title="Too little memory",
                detail="segmentation needed more than the 8 GB it may use",
            )
            claims.fail(job, problem)
            return
        result = StageResult(
            registration=RegistrationReport(verdict=verdict[index % 4], reason="-"),
            organs=organs if stage is Stage.SEGMENT else None,
        )
        claims.finish_stage(job, stage, result)


def measure(browser: Browser, url: str, jobs: int) -> dict[str, Any]:
    """Return times of loads into an empty cache (ms), and the bytes of each kind.

    Args:
        browser: Chromium.
        url: The worklist's.
        jobs: How many it has.
    """
    paints, rows, sizes = [], [], {}
    for _ in range(LOADS):
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(url)
        page.wait_for_selector("tr[data-job]")
        rows.append(page.evaluate("performance.now()"))
        paints.append(
            page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            )
        )
        sizes = page.evaluate(
            """() => Object.fromEntries(performance.getEntriesByType('resource').map(
                e => [e.name.split('/').pop().split('?')[0],
                      [e.encodedBodySize, e.decodedBodySize]]))"""
        )
        page.context.close()
    scripts = {name: size for name, size in sizes.items() if name.endswith(".js")}
    return {
        "jobs": jobs,
        "first_contentful_paint_ms": round(statistics.median(paints)),
        "rows_shown_ms": round(statistics.median(rows)),
        "script_bytes_sent": sum(sent for sent, _ in scripts.values()),
        "script_bytes": sum(whole for _, whole in scripts.values()),
        "files": sizes,
    }


ASKED: tuple[tuple[str, str, str, float], ...] = (
    ("worklist", "first_contentful_paint_ms", "ms to the first paint", 1000),
    ("worklist", "rows_shown_ms", "ms to the rows", 1000),
    ("worklist", "script_bytes", "bytes of script", 300_000),
    ("viewer", "ct_and_contours_s", "s to CT and contours", 3.0),
    ("viewer", "with_mr_s", "s to the MR as well", 3.0),
    ("viewer", "tab_gb", "GB in the tab", 1.5),
    ("viewer", "graphics_gb", "GB in the graphics process", 1.5),
    ("viewer", "script_ms", "ms of script a slice", 16.7),
    ("viewer", "frame_ms", "ms a frame while scrolling", 33.3),
    ("viewer", "frame_ms_p95", "the same, 95th percentile", 50.0),
)
"""What is shown, in words, and the most that is asked for."""


def tell(figures: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    """Print figures, as JSON or as a table beside those asked for."""
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    for page, name, words, most in ASKED:
        found = figures[page][name]
        met = "" if found <= most else "   missed"
        print(f"{page:10} {words:32} {found:>10,}   at most {most:>9,}{met}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as (url, services),
        sync_playwright() as playwright,
    ):
        fill(services, arguments.jobs)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, headless=True
        )
        if arguments.docs:
            page_pictures.take(browser, url, services, arguments.docs)
        elif arguments.pictures:
            page_pictures.take(
                browser, url, services, arguments.pictures, every_width=True
            )
        else:
            job_id = page_viewer.make_job(services)
            figures = {
                "worklist": measure(browser, url, arguments.jobs),
                "viewer": page_viewer.measure(browser, url, job_id),
            }
            tell(figures, as_json=arguments.json)
        browser.close()


if __name__ == "__main__":
    main()
