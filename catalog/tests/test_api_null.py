"""A null character anywhere in a request is refused, never a fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aforo.core.models import AuditEntry
from catalog.api import examples, schema
from catalog.tests.api_kit import READS, WRITES, Caller, filled

pytestmark = pytest.mark.django_db

NUL = "a\0b"
SCHEMAS: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = dict(
    zip(
        WRITES,
        (
            (schema.PRODUCT, examples.PRODUCT),
            (schema.PRODUCT_CHANGES, {}),
            (schema.METRIC, examples.METRIC),
            (schema.METRIC_CHANGES, {}),
            (schema.PLAN, examples.PLAN),
            (schema.PLAN_CHANGES, {}),
            (schema.DRAFT, examples.DRAFT),
            ({"properties": {"note": {"type": "string"}}}, {}),
            ({"properties": {"note": {"type": "string"}}}, {}),
        ),
        strict=True,
    )
)
# What of each kind can hold a text, or a name.
INSIDE: dict[str, list[Any]] = {
    "string": [NUL, "\0"],
    "array": [[NUL], [{"name": NUL}], [{NUL: "1"}], [{"a": {"b": [NUL]}}]],
    "object": [{"a": NUL}, {NUL: "a"}, {"a": [{NUL: {}}]}, {"a": {"b": [NUL]}}],
}


def spoilt(whole: Any) -> Iterator[Any]:
    """Yield a value with each of its texts and names spoilt in turn."""
    if isinstance(whole, str):
        yield f"{whole}\0"
    elif isinstance(whole, dict):
        for name, member in whole.items():
            rest = {key: value for key, value in whole.items() if key != name}
            yield {**rest, f"{name}\0": member}
            yield from ({**whole, name: other} for other in spoilt(member))
    elif isinstance(whole, list):
        for index, member in enumerate(whole):
            for other in spoilt(member):
                yield [*whole[:index], other, *whole[index + 1 :]]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_no_text_of_a_body_may_hold_one(api: Caller, method: str, path: str) -> None:
    described, example = SCHEMAS[method, path]
    bodies = list(spoilt(example))
    for name, member in described["properties"].items():
        bodies += [{**example, name: bad} for bad in INSIDE.get(member["type"], ())]
    before = AuditEntry.objects.count()
    address = filled(path, api.shop)
    for body in bodies:
        for headers in ({}, {"Idempotency_Key": "k"}):
            reply = api.ask(method, address, body, **headers)
            assert reply.refusal[0] in (400, 422), body
    assert AuditEntry.objects.count() == before


ADDRESSES = [("GET", path) for path in READS] + WRITES


@pytest.mark.parametrize(
    ("method", "path"), [(m, p) for m, p in ADDRESSES if p.count("/")]
)
def test_an_address_with_one_names_nothing(api: Caller, method: str, path: str) -> None:
    first, _, *rest = filled(path, api.shop).split("/")
    own = {"products": api.shop.product, "plans": api.shop.version.plan}.get(first)
    code = own.code if own else "input_tokens"
    for name in (f"{code}%00", f"%00{code}", "%00"):
        body = None if method == "GET" or rest[2:] else SCHEMAS[method, path][1]
        for headers in ({}, {"Idempotency_Key": "k"}):
            asked = api.ask(method, "/".join([first, name, *rest]), body, **headers)
            assert asked.refusal[:2] == (404, "not_found")


@pytest.mark.parametrize("path", [p for p in READS if not p.endswith("}")])
def test_no_parameter_may_hold_one(api: Caller, path: str) -> None:
    for query in ("limit=%00", "after=%00", "a%00=1", "product=%00"):
        reply = api.ask("GET", f"{filled(path, api.shop)}?{query}")
        assert reply.status in (200, 400, 404), query
