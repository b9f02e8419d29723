"""The API reference shows what the OpenAPI document says."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from portal.templatetags.aforo_text import with_code
from portal.views import apidocs

pytestmark = pytest.mark.django_db


def test_the_document_is_openapi_3_1_and_names_doors_and_catalog(
    client: Client,
) -> None:
    document = json.loads(client.get("/v1/openapi.json").content)
    assert document["openapi"].startswith("3.1")
    assert {"/v1/check", "/v1/events", "/v1/plans/{name}/draft"} <= set(
        document["paths"]
    )


def test_every_operation_has_words_examples_and_answers() -> None:
    for operation in apidocs.operations(apidocs.document()):
        assert operation.summary, operation.path
        statuses = {answer.status for answer in operation.answers}
        assert "401" in statuses, operation.path
        assert "400" in statuses or not operation.shapes, operation.path
        done = [a for a in operation.answers if a.status in {"200", "201", "202"}]
        # A yes to a gateway is all headers.
        says = any(answer.examples for answer in done)
        assert says or operation.path == "/v1/authz", operation.path
        assert operation.examples or not operation.shapes, operation.path
        assert all(answer.text for answer in operation.answers), operation.path


def test_fields_of_inner_objects_are_named_by_their_path() -> None:
    names = {
        field.name
        for operation in apidocs.operations(apidocs.document())
        for shape in operation.shapes
        for field in shape.fields
    }
    assert "measurements[].metricKey" in names
    assert "tool_name" in names


def test_the_reference_needs_no_sign_in(client: Client) -> None:
    page = client.get("/docs/api")
    assert page.status_code == 200
    assert "/v1/check" in page.content.decode()


def test_names_in_the_text_are_shown_as_code(client: Client) -> None:
    page = client.get("/docs/api").content.decode()
    assert "<code>{&quot;events&quot;: […]}</code>" in page
    assert "`" not in page


def test_text_with_code_is_escaped() -> None:
    assert with_code("a <b> `c<d>`") == "a &lt;b&gt; <code>c&lt;d&gt;</code>"
