"""The catalog API refuses malformed bodies and wrong values, each by its field."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from aforo.core.models import AuditEntry
from catalog.tests.api_kit import DRAFT, METRIC, PRODUCT, WRITES, Caller, filled

pytestmark = pytest.mark.django_db

MALFORMED: list[tuple[str, bytes, str]] = [
    ("no JSON", b"{", "invalid_json"),
    ("NaN", b'{"name": NaN}', "invalid_json"),
    ("not UTF-8", b'{"name": "\xff"}', "invalid_json"),
    ("a lone surrogate", b'{"name": "\\ud800"}', "invalid_json"),
    ("a list", b"[]", "invalid_body"),
    ("a text", b'"x"', "invalid_body"),
    ("null", b"null", "invalid_body"),
    ("a key twice", b'{"name": "a", "name": "b"}', "duplicate_key"),
    ("too deep", b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}", "too_deep"),
    ("a long number", b'{"a": ' + b"9" * 70 + b"}", "number_out_of_range"),
    ("a stranger", b'{"colour": "red"}', "unknown_field"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_malformed_body_is_400_and_changes_nothing(
    api: Caller, method: str, path: str
) -> None:
    before = AuditEntry.objects.count()
    address = filled(path, api.shop)
    for case, raw, code in MALFORMED:
        reply = api.ask(method, address, raw)
        assert reply.refusal[:2] == (400, code), case
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize(("method", "path"), WRITES[:-2])
def test_a_body_of_another_type_is_415_and_a_large_one_413(
    api: Caller, method: str, path: str
) -> None:
    address = filled(path, api.shop)
    for kind in ("text/plain", "application/json; charset=latin-1", ""):
        reply = api.ask(method, address, {}, Content_Type=kind)
        assert reply.refusal[:2] == (415, "unsupported_media_type")
    large = b'{"name": "' + b"x" * 1_100_000 + b'"}'
    assert api.ask(method, address, large).refusal[:2] == (413, "body_too_large")
    bomb = gzip.compress(b" " * 2_000_000)
    packed = api.ask(method, address, bomb, Content_Encoding="gzip")
    assert packed.refusal[:2] == (413, "body_too_large")
    odd = api.ask(method, address, {}, Content_Encoding="br")
    assert odd.refusal[:2] == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("POST", "products", {"code": "x"}, (400, "missing_field", "name")),
        ("POST", "products", PRODUCT | {"name": 1}, (400, "wrong_type", "name")),
        ("POST", "products", PRODUCT | {"name": None}, (400, "wrong_type", "name")),
        ("POST", "products", PRODUCT | {"name": ""}, (422, "invalid_value", "name")),
        (
            "POST",
            "products",
            PRODUCT | {"name": "x" * 121},
            (422, "invalid_value", "name"),
        ),
        (
            "POST",
            "products",
            PRODUCT | {"name": "a\0"},
            (400, "invalid_value", "name"),
        ),
        ("POST", "products", PRODUCT | {"code": "a b"}, (422, "invalid_code", "code")),
        (
            "POST",
            "products",
            PRODUCT | {"type": "BOX"},
            (400, "unknown_choice", "type"),
        ),
        (
            "POST",
            "products",
            PRODUCT | {"features": [1]},
            (400, "wrong_type", "features[0]"),
        ),
        (
            "POST",
            "products",
            PRODUCT | {"features": ["x" * 61]},
            (422, "invalid_value", "features"),
        ),
        (
            "PATCH",
            "products/{product}",
            {"code": "other"},
            (422, "immutable_field", "code"),
        ),
        (
            "PATCH",
            "products/{product}",
            {"type": "MCP_SERVER"},
            (422, "immutable_field", "type"),
        ),
        (
            "PATCH",
            "products/{product}",
            {"max_call_s": True},
            (400, "wrong_type", "max_call_s"),
        ),
        (
            "PATCH",
            "products/{product}",
            {"max_call_s": -1},
            (422, "invalid_value", "max_call_s"),
        ),
        (
            "PATCH",
            "products/{product}",
            {"max_call_s": 10**12},
            (422, "invalid_value", "max_call_s"),
        ),
        ("POST", "metrics", METRIC | {"code": "Big"}, (422, "invalid_code", "code")),
        (
            "POST",
            "metrics",
            METRIC | {"code": "input_tokens"},
            (422, "already_exists", "code"),
        ),
        ("POST", "metrics", METRIC | {"field": ""}, (422, "field_required", "field")),
        (
            "POST",
            "metrics",
            METRIC | {"aggregation": "median"},
            (400, "unknown_choice", "aggregation"),
        ),
        (
            "POST",
            "metrics",
            METRIC | {"event_types": "a"},
            (400, "wrong_type", "event_types"),
        ),
        (
            "PATCH",
            "metrics/input_tokens",
            {"aggregation": "max"},
            (422, "immutable_field", "aggregation"),
        ),
        (
            "PATCH",
            "metrics/input_tokens",
            {"code": "other"},
            (422, "immutable_field", "code"),
        ),
        (
            "POST",
            "plans",
            {"code": "x", "name": "X", "product": "nothing"},
            (422, "unknown_product", "product"),
        ),
        (
            "POST",
            "plans",
            {"code": "x/y", "name": "X", "product": "{product}"},
            (422, "invalid_code", "code"),
        ),
        ("PATCH", "plans/{plan}", {"code": "x"}, (422, "immutable_field", "code")),
        ("PATCH", "plans/{plan}", {"name": ""}, (422, "invalid_value", "name")),
        (
            "PUT",
            "plans/{plan}/draft",
            {"currency": "USD"},
            (400, "missing_field", "charges"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"currency": "XXX"},
            (422, "unknown_currency", "currency"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"charges": {}},
            (400, "wrong_type", "charges"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"charges": ["x"]},
            (400, "wrong_type", "charges[0]"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"charges": [{"price": {"unit_amount": 0.5}}]},
            (400, "wrong_type", "charges[0].price.unit_amount"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"charges": [{"key": "a\0"}]},
            (400, "invalid_value", "charges[0].key"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"limits": []},
            (400, "wrong_type", "limits"),
        ),
        (
            "PUT",
            "plans/{plan}/draft",
            DRAFT | {"prorate": "yes"},
            (400, "wrong_type", "prorate"),
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(
    api: Caller,
    method: str,
    path: str,
    body: dict[str, Any],
    refusal: tuple[int, str, str],
) -> None:
    if body.get("product") == "{product}":
        body = body | {"product": api.shop.product.public_id}
    before = AuditEntry.objects.count()
    assert api.ask(method, filled(path, api.shop), body).refusal == refusal
    assert AuditEntry.objects.count() == before
