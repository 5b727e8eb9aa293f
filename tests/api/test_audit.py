"""Every request that does or reads something of a case is in the audit log."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.http.audit import NOT_AUDITED
from hanseg_segmentation.api.http.tokens import Refusal, TokenVerifier
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import ApiKey, Scope
from tests.api.requests import new_job, submit

AUDITED = {
    "export_statistics",
    "fetch_commissioning_file",
    "fetch_mask",
    "judge_organ",
    "judge_organs",
    "list_corrections",
    "reopen_review",
    "review_registration",
    "save_mask",
    "send_commissioning_file",
    "send_correction",
    "sign_review",
    "announce_upload",
    "cancel_job",
    "create_webhook",
    "delete_batch",
    "delete_job",
    "delete_study",
    "delete_template",
    "delete_upload",
    "delete_webhook",
    "fetch_result",
    "fetch_results_zip",
    "fetch_view",
    "head_result",
    "head_results_zip",
    "list_jobs",
    "list_lines",
    "list_results",
    "ping_webhook",
    "register_commissioning",
    "retry_job",
    "rotate_webhook",
    "save_template",
    "send_upload",
    "sign_in",
    "sign_out",
    "store_instances",
    "store_instances_of_study",
    "submit_batch",
    "submit_job",
}


def told(services) -> list[dict[str, Any]]:
    entries = services.tables.audit.list_entries()
    return [json.loads(entry.line) for entry in entries]


def test_every_operation_is_audited_or_said_not_to_be(app):
    operations = {
        operation["operationId"]
        for path in app.openapi()["paths"].values()
        for operation in path.values()
    }
    assert operations - NOT_AUDITED == AUDITED


def test_a_new_route_is_audited_by_default(app, services, api):
    @app.get("/v1/jobs/{job_id}/secrets", operation_id="read_secrets")
    def read_secrets(job_id: str) -> str:
        return job_id

    api.get(f"/v1/jobs/{'a' * 32}/secrets")
    assert [(each["what"], each["on"]) for each in told(services)[-1:]] == [
        ("read_secrets", "a" * 32)
    ]


def test_the_start_is_recorded_with_the_clocks_and_no_secret(services, api):
    [start] = told(services)
    assert start["what"] == "start_api"
    assert start["details"]["retention_hours"] == 168.0
    assert not {"broker_url", "database_url", "store_uri"} & set(start["details"])


def test_what_is_done_to_a_job_is_recorded_in_order(services, api):
    job_id = new_job(api)
    api.get(f"/v1/jobs/{job_id}")
    api.post(f"/v1/jobs/{job_id}/cancel")
    api.get(f"/v1/jobs/{job_id}/results")
    api.delete(f"/v1/jobs/{job_id}")

    found = [
        (each["what"], each["on"], each["outcome"], each["who"], each["from"])
        for each in told(services)[1:]
    ]
    assert found == [
        ("submit_job", job_id, "202", "local", "testclient"),
        ("cancel_job", job_id, "202", "local", "testclient"),
        ("list_results", job_id, "409", "local", "testclient"),
        ("delete_job", job_id, "204", "local", "testclient"),
    ]
    assert services.tables.audit.find_fault() is None


def test_what_was_refused_unread_is_not_recorded(services, api):
    assert api.get("/v1/jobs?limit=0").status_code == 422
    assert api.get("/nowhere").status_code == 404
    assert len(told(services)) == 1


def test_nothing_of_the_patient_is_recorded(services, api):
    submit(api, case="Trillian")
    api.get("/v1/jobs", params={"case": "Trillian"})
    api.delete("/v1/dicom-web/studies/1.2.3.4.5.6")
    lines = [entry.line for entry in services.tables.audit.list_entries()]
    assert len(lines) == 4
    assert not any("Trillian" in line or "1.2.3.4.5.6" in line for line in lines)


class TestKeys:
    """What is recorded of keys and tokens that are sent."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"access": "keys"})

    def ask(self, api, key) -> int:
        headers = {"Authorization": f"Bearer {key.text}"}
        return int(api.get("/v1/organs", headers=headers).status_code)

    def test_a_key_used_after_its_end_is_there_once_an_hour(
        self, app, api, services, monkeypatch
    ):
        create = services.tables.api_keys.create
        expired = create("anna", frozenset(Scope), seconds=-1.0)
        revoked = create("bert", frozenset(Scope))
        services.tables.api_keys.revoke(revoked.id)
        for key in (expired, revoked, expired):
            assert self.ask(api, key) == 401
        assert self.ask(api, ApiKey.generate()) == 401  # nobody's
        assert self.used(services) == [
            ("use_expired_key", "anna", expired.id),
            ("use_revoked_key", "bert", revoked.id),
        ]
        clock = app.state.gate._clock
        monkeypatch.setattr(app.state.gate, "_clock", lambda: clock() + 3600.0)
        assert self.ask(api, expired) == 401
        assert len(self.used(services)) == 3

    def used(self, services) -> list[tuple[str, str, str]]:
        found = map(json.loads, (e.line for e in services.tables.audit.list_entries()))
        return [
            (each["what"], each["who"], each["on"])
            for each in found
            if each["what"].startswith("use_")
        ]

    def test_the_first_token_of_a_provider_is_there_once(
        self, services, models, monkeypatch
    ):
        issuer = "https://login.example.org"

        class Verifier:
            def verify(self, token: str) -> Principal | Refusal:
                if token == "wrong":
                    return Refusal("no")
                return Principal(f"oidc:{token}", scopes=frozenset(Scope))

        monkeypatch.setattr(TokenVerifier, "of", lambda _: Verifier())
        given = services.settings.model_copy(update={"oidc_issuer": issuer})
        for sent in (("wrong", "anna", "bert"), ("carl",)):  # before and after a start
            app = create_app(
                replace(services, settings=given),
                model_folders=[models],
                reconcile=False,
            )
            with TestClient(app) as api:
                for token in sent:
                    headers = {"Authorization": f"Bearer {token}"}
                    api.get("/v1/organs", headers=headers)
        lines = [each.line for each in services.tables.audit.list_entries()]
        (found,) = [json.loads(line) for line in lines if "new_identity" in line]
        assert (found["who"], found["on"]) == ("oidc:anna", issuer)
