"""The catalog API: what a service key may read and write, and every refusal."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from aforo.core import service_keys
from aforo.core.models import AuditEntry, IdempotencyKey
from aforo.lib import clock
from catalog import plans
from catalog.models import Metric, Plan, PlanVersion, Product
from tests.factories import TOKENS_PLAN, Shop, make_shop

pytestmark = pytest.mark.django_db

METRIC = {
    "code": "pages",
    "name": "Pages",
    "aggregation": "sum",
    "field": "pages",
    "unit": "page",
}
PRODUCT = {"code": "travel", "name": "Travel", "type": "MCP_SERVER"}
DRAFT = {"currency": "USD", "charges": TOKENS_PLAN["charges"]}


@dataclass(slots=True)
class Reply:
    """An answer of the API."""

    status: int
    json: Any
    headers: Any

    @property
    def refusal(self) -> tuple[int, str, str | None]:
        """Status, code and field of a refusal."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["type"].endswith(self.json["code"])
        assert self.json["detail"]
        return self.status, self.json["code"], self.json.get("field")


@dataclass(slots=True)
class Caller:
    """A system of the tenant that calls with a key."""

    shop: Shop
    secret: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; a body that is no bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {k.replace("_", "-"): v for k, v in headers.items()}
        kind = given.pop("Content-Type", "application/json")
        if self.secret:
            given = {"Authorization": f"Bearer {self.secret}"} | given
        answer = Client(raise_request_exception=False).generic(
            method,
            f"/v1/{path}",
            b"" if body is None else raw,
            content_type=kind,
            headers=given,
        )
        return Reply(answer.status_code, json.loads(answer.content), answer.headers)


def make_caller(shop: Shop, *scopes: str) -> Caller:
    """Return a caller whose key has the scopes."""
    _, secret = service_keys.issue(
        tenant=shop.tenant, name="deploy", scopes=scopes, actor=None
    )
    return Caller(shop, secret)


@pytest.fixture
def api() -> Caller:
    """A caller who may do everything here."""
    return make_caller(make_shop(), "catalog:read", "catalog:write")


@pytest.fixture
def theirs() -> Shop:
    """Another tenant."""
    return make_shop()


def plan_of(api: Caller) -> Plan:
    """Return the shop's plan."""
    return Plan.objects.get(tenant=api.shop.tenant)


def test_a_product_is_added_shown_changed_and_listed(api: Caller) -> None:
    made = api.ask("POST", "products", PRODUCT | {"features": ["search"]})
    assert made.status == 201
    for name in (made.json["id"], "travel"):
        assert api.ask("GET", f"products/{name}").json == made.json
    changed = api.ask("PATCH", "products/travel", {"name": "T", "max_call_s": 60})
    assert (changed.status, changed.json["name"], changed.json["max_call_s"]) == (
        200,
        "T",
        60,
    )
    listed = api.ask("GET", "products").json
    assert [p["code"] for p in listed["items"]] == ["travel", api.shop.product.code]
    assert listed["next"] is None
    entry = AuditEntry.objects.get(action="product.changed")
    assert entry.actor_label.startswith("Service key deploy …")
    assert entry.changes["name"] == ["Travel", "T"]


def test_a_metric_is_defined_shown_changed_and_listed(api: Caller) -> None:
    made = api.ask("POST", "metrics", METRIC)
    assert made.status == 201
    assert api.ask("GET", "metrics/pages").json == made.json
    changed = api.ask("PATCH", f"metrics/{made.json['id']}", {"field": "images"})
    assert changed.json["field"] == "images"
    assert len(api.ask("GET", "metrics").json["items"]) == 4


def test_a_plan_is_made_drafted_published_and_retired(api: Caller) -> None:
    product = api.shop.product
    body = {"code": "pro", "name": "Pro", "product": product.code}
    made = api.ask("POST", "plans", body)
    assert (made.status, made.json["product"]) == (201, product.public_id)
    assert api.ask("PATCH", "plans/pro", {"name": "Pro 2"}).json["name"] == "Pro 2"
    draft = api.ask("PUT", "plans/pro/draft", DRAFT | {"prorate": True})
    assert (draft.status, draft.json["number"], draft.json["state"]) == (
        200,
        1,
        "draft",
    )
    assert draft.json["charges"] == TOKENS_PLAN["charges"]
    assert draft.json["summary"] is None
    again = api.ask("PUT", "plans/pro/draft", DRAFT)
    assert (again.json["id"], again.json["prorate"]) == (draft.json["id"], False)

    published = api.ask("POST", "plans/pro/versions/1/publish")
    assert (published.status, published.json["state"]) == (200, "published")
    assert published.json["charges"][0]["metric"]["aggregation"] == "sum"
    assert "Input tokens" in published.json["summary"]
    assert api.ask("GET", "plans/pro/versions/1").json == published.json
    (entry,) = AuditEntry.objects.filter(
        action="plan.published", object_id=published.json["id"]
    )
    assert entry.actor_label.startswith("Service key deploy")

    second = api.ask("PUT", "plans/pro/draft", DRAFT)
    assert second.json["number"] == 2
    retired = api.ask("POST", "plans/pro/versions/1/retire", {})
    assert retired.json["state"] == "retired"
    listed = api.ask("GET", "plans/pro/versions").json["items"]
    assert [(v["number"], v["state"]) for v in listed] == [(2, "draft"), (1, "retired")]


def test_what_is_published_is_what_a_page_would_have_published(api: Caller) -> None:
    plan = plan_of(api)
    api.ask("PUT", f"plans/{plan.code}/draft", DRAFT)
    draft = PlanVersion.objects.get(plan=plan, state="draft")
    api.ask("POST", f"plans/{plan.code}/versions/{draft.number}/publish")
    draft.refresh_from_db()
    assert draft.body == api.shop.version.body
    assert plans.load_plans({draft.pk})[draft.pk].plan.currency == "USD"


def test_lists_are_paged_by_key_and_plans_by_product(api: Caller) -> None:
    for number in range(3):
        api.ask("POST", "products", PRODUCT | {"code": f"p{number}"})
    seen, after = [], ""
    while True:
        page = api.ask("GET", f"products?limit=2{after}").json
        seen += [p["code"] for p in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["p2", "p1", "p0", api.shop.product.code]
    assert api.ask("GET", "plans?product=p0").json["items"] == []
    own = api.ask("GET", f"plans?product={api.shop.product.public_id}").json["items"]
    assert [p["code"] for p in own] == [plan_of(api).code]


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("limit=0", (400, "invalid_parameter", "limit")),
        ("limit=101", (400, "invalid_parameter", "limit")),
        ("limit=x", (400, "invalid_parameter", "limit")),
        ("limit=%C2%B2", (400, "invalid_parameter", "limit")),
        ("limit=" + "9" * 5000, (400, "invalid_parameter", "limit")),
        ("after=x", (400, "invalid_parameter", "after")),
        ("after=%00", (400, "invalid_parameter", "after")),
        ("page=2", (400, "unknown_parameter", "page")),
    ],
)
def test_a_wrong_parameter_is_named(
    api: Caller, query: str, refusal: tuple[int, str, str]
) -> None:
    for path in ("products", "metrics", "plans", f"plans/{plan_of(api).code}/versions"):
        assert api.ask("GET", f"{path}?{query}").refusal == refusal


WRITES = [
    ("POST", "products"),
    ("PATCH", "products/{product}"),
    ("POST", "metrics"),
    ("PATCH", "metrics/input_tokens"),
    ("POST", "plans"),
    ("PATCH", "plans/{plan}"),
    ("PUT", "plans/{plan}/draft"),
    ("POST", "plans/{plan}/versions/1/publish"),
    ("POST", "plans/{plan}/versions/1/retire"),
]
READS = [
    "products",
    "products/{product}",
    "metrics",
    "metrics/input_tokens",
    "plans",
    "plans/{plan}",
    "plans/{plan}/versions",
    "plans/{plan}/versions/1",
]


def filled(path: str, shop: Shop) -> str:
    """Return an address of a shop's rows."""
    plan = shop.version.plan
    return path.format(product=shop.product.public_id, plan=plan.public_id)


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


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"metric": "nothing"}, (422, "unknown_metric", "charges[0].metric")),
        (
            {"price": {"model": "magic"}},
            (422, "unknown_model", "charges[0].price.model"),
        ),
        ({"colour": "red"}, (422, "unknown_key", "charges[0].colour")),
    ],
)
def test_publishing_checks_the_charges_as_the_pages_do(
    api: Caller, change: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    plan = plan_of(api)
    charge = TOKENS_PLAN["charges"][0] | change
    assert api.ask("PUT", f"plans/{plan.code}/draft", DRAFT | {"charges": [charge]})
    reply = api.ask("POST", f"plans/{plan.code}/versions/2/publish")
    assert reply.refusal == refusal
    assert PlanVersion.objects.get(plan=plan, number=2).state == "draft"


def test_publishing_checks_the_limits(api: Caller) -> None:
    plan = plan_of(api)
    api.ask("PUT", f"plans/{plan.code}/draft", DRAFT | {"limits": {"spend_cap": 5}})
    reply = api.ask("POST", f"plans/{plan.code}/versions/2/publish")
    assert reply.refusal == (422, "invalid_limits", "limits.spend_cap")


def test_a_version_is_published_once_and_retired_once(api: Caller) -> None:
    path = f"plans/{plan_of(api).code}/versions/1"
    assert api.ask("POST", f"{path}/publish").refusal[:2] == (409, "not_a_draft")
    assert api.ask("POST", f"{path}/retire").status == 200
    assert api.ask("POST", f"{path}/retire").refusal[:2] == (409, "not_published")


def test_publishing_takes_no_body(api: Caller) -> None:
    path = f"plans/{plan_of(api).code}/versions/1/publish"
    assert api.ask("POST", path, {"now": True}).refusal == (400, "unknown_field", "now")


def test_a_repeated_key_answers_as_before_and_does_nothing_again(api: Caller) -> None:
    first = api.ask("POST", "metrics", METRIC, Idempotency_Key="k1")
    again = api.ask("POST", "metrics", METRIC, Idempotency_Key="k1")
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert Metric.objects.filter(code="pages").count() == 1
    other = api.ask("POST", "metrics", METRIC | {"code": "q"}, Idempotency_Key="k1")
    assert other.refusal == (422, "idempotency_key_reused", "Idempotency-Key")
    # The same key names another request elsewhere.
    assert api.ask("POST", "products", PRODUCT, Idempotency_Key="k1").status == 201
    publish = f"plans/{plan_of(api).code}/versions/2/publish"
    api.ask("PUT", f"plans/{plan_of(api).code}/draft", DRAFT)
    done = [api.ask("POST", publish, Idempotency_Key="k2") for _ in range(2)]
    assert [reply.status for reply in done] == [200, 200]


def test_a_refused_request_leaves_its_key_free(api: Caller) -> None:
    bad = METRIC | {"unit": ""}
    assert api.ask("POST", "metrics", bad, Idempotency_Key="k").status == 422
    assert not IdempotencyKey.objects.exists()
    assert api.ask("POST", "metrics", METRIC, Idempotency_Key="k").status == 201


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_a_malformed_key_is_400(api: Caller, key: str) -> None:
    reply = api.ask("POST", "metrics", METRIC, Idempotency_Key=key)
    assert reply.refusal == (400, "invalid_idempotency_key", "Idempotency-Key")


def test_tenants_have_their_own_keys(api: Caller, theirs: Shop) -> None:
    other = make_caller(theirs, "catalog:write")
    for caller in (api, other):
        made = caller.ask("POST", "metrics", METRIC, Idempotency_Key="same")
        assert made.status == 201
        assert "Idempotency-Replayed" not in made.headers


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
