"""The page's documents and assets: where they are, and what they may load."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.http.origin import PAGES
from hanseg_segmentation.api.web.site import BUILT, Site
from hanseg_shared.flags import FlagCode
from tests.api.conftest import FAST
from tests.api.requests import assert_problem

PAGE_SOURCES = Path(__file__).parents[2] / "services/segmentation/web/src"
SCRIPT = b"export const organs = 30;" * 100
ADDRESSES = [path.replace("{job_id}", "0" * 32) for path in PAGES]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page of one script, in three forms."""
    folder = tmp_path / "built"
    assets = folder / "assets"
    assets.mkdir(parents=True)
    page = '<!doctype html><base href="/" /><script src="./assets/a-1.js"></script>'
    (folder / "index.html").write_text(page)
    (folder / "stamp").write_text("0" * 64)
    (assets / "a-1.js").write_bytes(SCRIPT)
    (assets / "a-1.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "a-1.js.br").write_bytes(b"smaller")
    (assets / "notes.txt").write_text("not for the page")
    return folder


def make_app(services, models, folder: Path) -> FastAPI:
    return create_app(
        services, model_folders=[models], pace=FAST, reconcile=False, page_folder=folder
    )


@pytest.fixture
def page(services, models, built):
    with TestClient(make_app(services, models, built)) as client:
        yield client


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_of_the_page_answers_its_document(page, address):
    answer = page.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert '<base href="/" />' in answer.text


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_page_loads_nothing_but_its_own_files(page, address):
    policy = page.get(address).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy


def test_addresses_below_a_prefix_are_told_to_the_page(built):
    document = Site(built).document('/contours/"x"/')
    assert document is not None
    assert '<base href="/contours/&quot;x&quot;/" />' in document


def test_a_page_that_was_not_built_says_how_to_build_it(services, models, tmp_path):
    with TestClient(make_app(services, models, tmp_path / "none")) as api:
        answer = api.get("/")
        assert answer.status_code == 503
        assert "<code>make page</code>" in answer.text
        assert_problem(api.get("/assets/a-1.js"), 404, "not-found")


def test_an_asset_is_kept_for_ever(page):
    answer = page.get("/assets/a-1.js", headers={"Accept-Encoding": "identity"})
    assert answer.content == SCRIPT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0", None),
        ("", None),
    ],
)
def test_an_asset_comes_in_the_smallest_form_that_is_accepted(
    built, accepted, encoding
):
    asset = Site(built).asset("a-1.js", accepted)
    assert asset is not None
    assert asset.encoding == encoding
    assert asset.media_type == "text/javascript; charset=utf-8"


def test_a_compressed_asset_says_so(page):
    answer = page.get("/assets/a-1.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == SCRIPT


@pytest.mark.parametrize(
    "name",
    ["none.js", "notes.txt", "a-1.js.gz", "..%2Findex.html", "..%2F..%2Fx.js", ".js"],
)
def test_nothing_else_is_an_asset(page, name):
    assert_problem(page.get(f"/assets/{name}"), 404, "not-found")


def test_a_link_may_lead_to_every_address_of_the_page(page):
    for address in ADDRESSES:
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert page.get(address, headers=headers).status_code == 200
    elsewhere = page.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403


def test_what_is_built_is_no_part_of_the_repository():
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    assert any(str(BUILT).endswith(each.rstrip("/")) for each in ignored if each)


def test_the_page_offers_every_flag_of_the_service_to_narrow_the_list_by():
    source = (PAGE_SOURCES / "worklist" / "flags.ts").read_text()
    listed = re.search(r"const CODES = \[(.*?)\] as const", source, re.DOTALL)
    assert listed is not None
    assert re.findall(r'"(\w+)"', listed[1]) == [code.value for code in FlagCode]
