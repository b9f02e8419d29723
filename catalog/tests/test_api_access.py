"""Who may call the catalog API, and what of another tenant they see: nothing."""

from __future__ import annotations

import pytest
from django.test import Client

from aforo.core import service_keys
from aforo.lib import clock
from catalog.models import Product
from catalog.tests.api_kit import (
    DRAFT,
    READS,
    WRITES,
    Caller,
    filled,
    make_caller,
    plan_of,
)
from tests.factories import Shop

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", READS)
def test_reading_needs_the_scope_and_a_key(theirs: Shop, path: str) -> None:
    address = filled(path, theirs)
    writer = make_caller(theirs, "catalog:write", "read", "ingest", "check")
    assert writer.ask("GET", address).refusal[:2] == (403, "insufficient_scope")
    assert make_caller(theirs, "catalog:read").ask("GET", address).status == 200
    assert Caller(theirs, "").ask("GET", address).refusal[:2] == UNKNOWN


UNKNOWN = (401, "invalid_credentials")


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_writing_needs_the_scope_and_a_key(
    theirs: Shop, method: str, path: str
) -> None:
    address = filled(path, theirs)
    reader = make_caller(theirs, "catalog:read", "read")
    assert reader.ask(method, address, {}).refusal[:2] == (403, "insufficient_scope")
    reply = Caller(theirs, "").ask(method, address, {})
    assert reply.refusal[:2] == UNKNOWN
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_no_other_secret_opens_the_catalog(api: Caller) -> None:
    shop = api.shop
    wrong = api.secret[:-1] + ("a" if api.secret[-1] != "a" else "b")
    for secret in (shop.secret, wrong, "x", api.secret.replace("svc", "sk")):
        assert Caller(shop, secret).ask("GET", "products").refusal[:2] == UNKNOWN
    basic = Caller(shop, "").ask("GET", "products", Authorization="Basic YTpi")
    assert basic.refusal[:2] == UNKNOWN


def test_a_revoked_and_an_expired_key_open_nothing(theirs: Shop) -> None:
    key, secret = service_keys.issue(
        tenant=theirs.tenant, name="k", scopes=["catalog:read"], actor=None
    )
    service_keys.revoke(key=key, actor=None)
    _, ended = service_keys.issue(
        tenant=theirs.tenant,
        name="k",
        scopes=["catalog:read"],
        actor=None,
        expires_at=clock.now(),
    )
    for old in (secret, ended):
        assert Caller(theirs, old).ask("GET", "products").refusal[:2] == UNKNOWN


def test_a_person_who_is_signed_in_needs_a_key_too(api: Caller) -> None:
    browser = Client()
    browser.force_login(api.shop.owner)
    assert browser.get("/v1/products").status_code == 401


def test_a_key_in_the_address_is_refused(api: Caller) -> None:
    reply = api.ask("GET", f"products?api_key={api.secret}")
    assert reply.refusal[:2] == (401, "key_in_url")


@pytest.mark.parametrize(
    ("method", "path"),
    [(m, p) for m, p in [*WRITES, *(("GET", p) for p in READS)] if "{" in p],
)
def test_another_tenants_rows_are_not_found(
    api: Caller, theirs: Shop, method: str, path: str
) -> None:
    address = filled(path, theirs)
    bodies = {"PUT": DRAFT, "PATCH": {"name": "Mine"}}
    body = None if method == "GET" else bodies.get(method, {})
    assert api.ask(method, address, body).refusal[:2] == (404, "not_found")
    assert Product.objects.get(pk=theirs.product.pk).name != "Mine"


def test_lists_show_the_tenants_own_rows(api: Caller, theirs: Shop) -> None:
    listed = api.ask("GET", "plans").json["items"]
    assert [p["code"] for p in listed] == [plan_of(api).code]
    reply = api.ask("GET", f"plans?product={theirs.product.code}")
    assert reply.refusal[:2] == (404, "not_found")
    taken = {"code": "x", "name": "X", "product": theirs.product.public_id}
    assert api.ask("POST", "plans", taken).refusal[1] == "unknown_product"


@pytest.mark.parametrize(
    "path",
    [
        "products/nothing",
        "products/prd_x",
        "products/%00",
        "metrics/nothing",
        "plans/nothing/versions",
        "plans/{plan}/versions/9",
        "plans/{plan}/versions/99999999999999999999",
        "plans/{plan}/versions/x",
    ],
)
def test_what_is_not_there_is_404(api: Caller, path: str) -> None:
    reply = api.ask("GET", filled(path, api.shop))
    assert reply.refusal[:2] == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "products", "GET, POST"),
        ("PUT", "products/{product}", "GET, PATCH"),
        ("GET", "plans/{plan}/draft", "PUT"),
        ("GET", "plans/{plan}/versions/1/publish", "POST"),
        ("OPTIONS", "metrics", "GET, POST"),
        ("TRACE", "plans", "GET, POST"),
    ],
)
def test_another_method_is_405_with_allow(
    api: Caller, method: str, path: str, allowed: str
) -> None:
    reply = api.ask(method, filled(path, api.shop))
    assert reply.refusal[:2] == (405, "method_not_allowed")
    assert reply.headers["Allow"] == allowed


def test_any_accept_header_is_answered_in_json(api: Caller) -> None:
    assert api.ask("GET", "products", Accept="text/html").status == 200


def test_headers_that_are_too_long_are_431(api: Caller) -> None:
    reply = api.ask("GET", "products", X_Long="y" * 20_000)
    assert reply.refusal[:2] == (431, "headers_too_large")
