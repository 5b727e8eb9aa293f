"""A patient's name goes in with the images and comes out in results; nowhere else."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_shared.documents import (
    InputSummary,
    ModelSummary,
    OrganResult,
    ResultFile,
)
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.dicom.source import IDENTITY_FILE
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stores.files import hash_file
from hanseg_shared.jobs.work import work_on
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.signing.keys import PublicKey
from hanseg_shared.signing.manifest import Manifest
from hanseg_shared.signing.verify import verify_folder
from hanseg_shared.volume import Volume
from tests.api.conftest import FAST
from tests.api.fakes import REPORT
from tests.io.dicom.made_series import made_volume, make_series

pytestmark = pytest.mark.torch

NAME, NUMBER, BORN = "Trillian^Astra", "MRN-424242", "19790312"
PLANTED = [text.encode() for text in ("Trillian", NUMBER, BORN, "Magrathea")]
GRID = Grid((40, 38, 24), (1.5, 1.5, 3.0), (-30.0, -28.0, 5.0))


def head() -> Volume:
    """Return a block of tissue in air, in HU."""
    array = np.full(GRID.shape, -1000, dtype=np.int16)
    array[2:22, 4:34, 4:36] = 40
    array[8:10, 10:12, 10:14] = 900
    return Volume(array, GRID)


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        slices = make_series(
            head(),
            PatientName=NAME,
            PatientID=NUMBER,
            PatientBirthDate=BORN,
            InstitutionName="Magrathea",
            PatientAddress="Magrathea",
            ImageComments=NAME,
        )
        for number, dataset in enumerate(slices):
            file = io.BytesIO()
            dataset.save_as(file, enforce_file_format=True)
            archive.writestr(f"{number}.dcm", file.getvalue())
    return packed.getvalue()


def accept(ct: Path, mr: Path | None, *_: object) -> CaseCheck:
    payload = hash_file(ct)
    image = InputSummary(
        role="ct",
        sha256=payload.sha256,
        bytes=payload.bytes,
        format="nrrd",
        size=GRID.size,
        spacing_mm=GRID.spacing,
    )
    return CaseCheck(inputs=(image,))


@pytest.fixture
def api(services, models) -> Iterator[TestClient]:
    app = create_app(
        services, check_case=accept, model_folders=[models], pace=FAST, reconcile=False
    )
    with TestClient(app) as client:
        yield client


def segment(services, job_id: str, folder: Path) -> StageResult:
    """Return what the segmentation stage would, with one organ, put into the store."""
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[4:12, 5:15, 6:18] = organ("Parotid_L").label
    write_volume(Volume(array, GRID), folder / SEGMENTATION)
    payload = services.store.put(job_id, folder / SEGMENTATION)
    file = ResultFile(
        name=SEGMENTATION,
        sha256=payload.sha256,
        bytes=payload.bytes,
        media_type="application/gzip",
    )
    return StageResult(
        intermediate=(file,),
        model=ModelSummary(name="default", version="1", sha256="a" * 64),
        organs=tuple(
            OrganResult(
                name=each.name,
                label=each.label,
                status=OrganStatus.CONTOURED
                if each.name == "Parotid_L"
                else OrganStatus.EMPTY,
            )
            for each in ORGANS
        ),
    )


def finds(*contents: bytes) -> list[bytes]:
    return [planted for planted in PLANTED for text in contents if planted in text]


def require_signed(contents: dict[str, bytes], api, folder: Path) -> None:
    """Write results as a client would, and verify them with the service's own key."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    listed = api.get("/v1/signing-keys").json()["keys"]
    found = verify_folder(folder, [PublicKey(each["key"]) for each in listed])
    assert found.findings == ()
    assert isinstance(found.signed, Manifest)
    assert set(contents) == {
        "manifest.json",
        "manifest.sig",
        *(file.name for file in found.signed.files),
    }
    assert found.signed.template == "default@1"
    assert found.signed.template_sha256
    assert found.signed.inputs[0].sent_sha256


def test_nothing_of_the_patient_is_anywhere_but_in_the_results(
    api, services, worker, tmp_path, caplog, capfd
):
    from hanseg_segmentation.tasks import package_stage

    caplog.set_level(logging.DEBUG)
    files = {"ct": (f"{NAME}.zip", archive())}
    answer = api.post("/v1/jobs", files=files)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    worker.do(job_id, Stage.REGISTER, StageResult(registration=REPORT))
    worker.do(job_id, Stage.SEGMENT, segment(services, job_id, tmp_path))
    work_on(Stage.PACKAGE, job_id, package_stage, services)
    listed = api.get(f"/v1/jobs/{job_id}/results").json()["files"]
    contents = {each["name"]: api.get(each["href"]).content for each in listed}

    # the control: what is looked for is what the results say
    assert set(finds(contents["rtstruct.dcm"])) == set(PLANTED[:3])
    identity = next(
        each
        for each in services.tables.jobs.get(job_id).intermediate
        if each.name == IDENTITY_FILE
    )
    kept = services.store.read_range(job_id, identity.sha256, 0, identity.bytes)
    assert finds(b"".join(kept))

    require_signed(contents, api, tmp_path / "fetched")
    named = {"rtstruct.dcm", "report.dcm", "report.pdf"}
    for name in contents.keys() - named:
        assert finds(contents[name]) == [], name
    logged = "\n".join(record.getMessage() for record in caplog.records)
    printed = "".join(capfd.readouterr())
    answers = [api.get(f"/v1/jobs/{job_id}").content, api.get("/metrics").content]
    rows = [path.read_bytes() for path in services.settings.data.glob("*.sqlite*")]
    assert rows
    paths = [str(path).encode() for path in services.settings.data.rglob("*")]
    assert finds(logged.encode(), printed.encode(), *answers, *rows, *paths) == []


def test_a_refusal_names_the_file_and_the_tag_and_no_patient(api, caplog):
    caplog.set_level(logging.DEBUG)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive_:
        for name in (NAME, "Ford^Prefect"):
            slices = make_series(made_volume(GRID), series=name, PatientName=name,
                                 PatientID=name)  # fmt: skip
            for number, dataset in enumerate(slices):
                file = io.BytesIO()
                dataset.save_as(file, enforce_file_format=True)
                archive_.writestr(f"{name[:4]}/{number}.dcm", file.getvalue())
    answer = api.post("/v1/jobs", files={"ct": ("a.zip", packed.getvalue())})
    assert answer.status_code == 422
    assert "(0010,0020)" in answer.text
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert finds(answer.content, logged.encode()) == []


def test_a_name_in_a_url_is_not_logged(running, caplog):
    caplog.set_level(logging.INFO)
    connection = running.connect()
    connection.request("GET", "/v1/jobs?case=Trillian")
    assert connection.getresponse().read()
    connection.close()
    running.stop()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "GET /v1/jobs 200" in logged
    assert finds(logged.encode()) == []
