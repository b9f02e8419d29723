"""The catalog API: what a service key reads, writes and publishes, each once."""

from __future__ import annotations

from typing import Any

import pytest

from aforo.core.models import AuditEntry, IdempotencyKey
from catalog import plans
from catalog.models import Metric, PlanVersion
from catalog.tests.api_kit import (
    DRAFT,
    METRIC,
    PRODUCT,
    Caller,
    make_caller,
    plan_of,
)
from tests.factories import TOKENS_PLAN, Shop

pytestmark = pytest.mark.django_db


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


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"metric": "nothing"}, (422, "unknown_metric", "charges[0].metric")),
        ({"metric": ["calls"]}, (422, "unknown_metric", "charges[0].metric")),
        ({"metric": {"key": {}}}, (422, "unknown_metric", "charges[0].metric")),
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


def test_terms_of_a_whole_plan_are_drafted_shown_and_published(api: Caller) -> None:
    product = api.shop.product.code
    api.ask("POST", "plans", {"code": "pro", "name": "Pro", "product": product})
    terms = {
        "minimum": "500",
        "maximum": "900",
        "discounts": [{"name": "Launch", "percent": "10", "from": "2026-11-01"}],
    }
    draft = api.ask("PUT", "plans/pro/draft", DRAFT | terms)
    assert {name: draft.json[name] for name in terms} == terms
    done = api.ask("POST", "plans/pro/versions/1/publish")
    assert {name: done.json[name] for name in terms} == terms
    assert "Minimum spend: $500.00 a month." in done.json["summary"]
    without = api.ask("PUT", "plans/pro/draft", DRAFT)
    assert [without.json[name] for name in terms] == [None, None, []]
    wrong = api.ask("PUT", "plans/pro/draft", DRAFT | terms | {"maximum": "400"})
    assert wrong.status == 200
    refused = api.ask("POST", "plans/pro/versions/2/publish")
    assert (refused.status, refused.json["code"], refused.json["field"]) == (
        422,
        "out_of_range",
        "maximum",
    )
    assert refused.json["detail"] == "400 is below the minimum of 500"
    number = api.ask("PUT", "plans/pro/draft", DRAFT | {"minimum": 500})
    assert (number.status, number.json["field"]) == (400, "minimum")
