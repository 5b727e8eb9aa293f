"""The OpenAPI document is complete, and the application keeps what it promises."""

from __future__ import annotations

from typing import Any

import pytest

from hanseg_shared.flags import FlagCode, Number
from hanseg_shared.problems import KINDS
from tests.api.requests import PROBLEM

STORED = "application/dicom+json"
NONE_STORED = ("409", ["dicomweb"])
"""The one error that DICOM gives another form: no instance was stored."""

METHODS = {
    "/livez": {"get"},
    "/metrics": {"get"},
    "/readyz": {"get"},
    "/v1/signing-keys": {"get"},
    "/v1/batches": {"post"},
    "/v1/commissioning": {"get", "post"},
    "/v1/commissioning/{sheet}/files/{file_name}": {"get", "put"},
    "/v1/batches/{batch_id}": {"get", "delete"},
    "/v1/dicom-web/studies": {"post"},
    "/v1/dicom-web/studies/{study}": {"post", "delete"},
    "/v1/jobs": {"get", "post"},
    "/v1/jobs/{job_id}": {"get", "delete"},
    "/v1/jobs/{job_id}/cancel": {"post"},
    "/v1/jobs/{job_id}/events": {"get"},
    "/v1/jobs/{job_id}/results": {"get"},
    "/v1/jobs/{job_id}/results.zip": {"get", "head"},
    "/v1/jobs/{job_id}/results/{name}": {"get", "head"},
    "/v1/jobs/{job_id}/retry": {"post"},
    "/v1/jobs/{job_id}/review": {"get"},
    "/v1/jobs/{job_id}/review/corrections": {"post"},
    "/v1/jobs/{job_id}/review/organs": {"post"},
    "/v1/jobs/{job_id}/review/organs/{organ}/mask": {"put"},
    "/v1/jobs/{job_id}/review/versions/{version}/masks/{organ}": {"get"},
    "/v1/jobs/{job_id}/review/organs/{organ}": {"put"},
    "/v1/jobs/{job_id}/review/registration": {"put"},
    "/v1/jobs/{job_id}/review/reopen": {"post"},
    "/v1/jobs/{job_id}/review/signature": {"post"},
    "/v1/jobs/{job_id}/review/versions": {"get"},
    "/v1/jobs/{job_id}/review/versions/{version}": {"get"},
    "/v1/jobs/{job_id}/view/{image}": {"get"},
    "/v1/models": {"get"},
    "/v1/organs": {"get"},
    "/v1/session": {"get", "post", "delete"},
    "/v1/statistics": {"get"},
    "/v1/statistics/corrections": {"get"},
    "/v1/statistics/csv": {"get"},
    "/v1/templates": {"get"},
    "/v1/templates/{template_name}": {"get", "put", "delete"},
    "/v1/templates/{template_name}/versions/{version}": {"get"},
    "/v1/worklist": {"get"},
    "/v1/worklist/events": {"get"},
    "/v1/uploads": {"post"},
    "/v1/uploads/{upload_id}": {"get", "delete"},
    "/v1/uploads/{upload_id}/content": {"put"},
    "/v1/webhooks": {"get", "post"},
    "/v1/webhooks/{webhook_id}": {"get", "delete"},
    "/v1/webhooks/{webhook_id}/deliveries": {"get"},
    "/v1/webhooks/{webhook_id}/ping": {"post"},
    "/v1/webhooks/{webhook_id}/rotate": {"post"},
}


@pytest.fixture
def document(api) -> dict[str, Any]:
    return dict(api.get("/openapi.json").json())


@pytest.fixture
def operations(document) -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_resource_of_version_1_is_described(document):
    assert {path: set(each) for path, each in document["paths"].items()} == METHODS


def test_every_operation_says_what_it_does(operations):
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_operations_have_names_of_their_own(operations):
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names)


def test_every_tag_is_described(document, operations):
    described = {tag["name"] for tag in document["tags"]}
    assert {tag for each in operations.values() for tag in each["tags"]} == described


def test_every_error_is_a_problem_document_with_an_example(operations):
    for operation in operations.values():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                other = (
                    {STORED} if (status, operation["tags"]) == NONE_STORED else set()
                )
                assert set(answer["content"]) == {PROBLEM} | other
                assert answer["content"][PROBLEM]["example"]["status"] == int(status)


def test_examples_of_problems_have_types_that_exist(operations):
    own = {"bad-request", "too-large", "unsupported-media-type", "expired"}
    own |= {"not-acceptable", "precondition-failed", "unauthenticated", "forbidden"}
    own |= {"misdirected", "too-many-requests"}
    known = {kind.slug for kind in KINDS.values()} | own | {"range-not-satisfiable"}
    for operation in operations.values():
        for answer in operation["responses"].values():
            example = answer.get("content", {}).get(PROBLEM, {}).get("example", {})
            if example:
                assert example["type"].rsplit(":", 1)[-1] in known


def test_every_parameter_is_described(operations):
    for name, operation in operations.items():
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (name, parameter["name"])


def test_what_was_accepted_has_a_location(operations):
    for name in (
        "post /v1/jobs",
        "post /v1/batches",
        "post /v1/uploads",
        "post /v1/webhooks",
    ):
        accepted = operations[name]["responses"]
        made = accepted.get("202") or accepted["201"]
        assert made["headers"]["Location"]["required"]


def test_a_submission_is_a_form_or_json(operations):
    content = operations["post /v1/jobs"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]

    def look(node: Any) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref", "")
            if reference:
                assert reference.removeprefix("#/components/schemas/") in schemas
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(document)


def test_a_flag_is_a_code_and_named_numbers(document):
    schemas = document["components"]["schemas"]
    flag = schemas["Flag"]
    assert set(schemas["FlagCode"]["enum"]) == set(FlagCode)
    assert flag["required"] == ["code"]
    assert set(flag["properties"]) == {"code", "limit", *Number}
    assert flag["additionalProperties"] is False
