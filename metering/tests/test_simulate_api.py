"""POST /v1/simulate and GET /v1/simulate/{id}."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from aforo.core import service_keys
from aforo.core.models import AuditEntry, IdempotencyKey
from aforo.lib import clock
from billing.models import Customer
from billing.tests.cast import DAY, NOVEMBER, OCTOBER
from metering import backtest_jobs, pipeline
from metering.models import Backtest
from tests.factories import TOKENS_PLAN, Shop, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db

PATH = "/v1/simulate"
NAMED = {"currency": "USD", "charges": [{**TOKENS_PLAN["charges"][0], "key": "x"}]}


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A seller with a customer that used something in October."""
    with clock.travel(OCTOBER):
        made = make_shop(since=OCTOBER)
    with clock.travel(OCTOBER + 9 * DAY):
        store_event(made, {"input_tokens": 2_000_000, "tool_calls": 3})
        pipeline.rate()
    with clock.travel(NOVEMBER + 5 * DAY):
        yield made


def post(shop: Shop, value: Any, **headers: str) -> Any:
    """Send a request as the seller's backend."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {"authorization": f"Bearer {shop.service_secret}"}
    named |= {name.replace("_", "-"): text for name, text in headers.items()}
    kind = named.pop("content-type", "application/json")
    return Client(raise_request_exception=False).post(
        PATH, body, content_type=kind, headers=named
    )


def show(shop: Shop, public_id: str, **query: str) -> Any:
    """Ask for a backtest as the seller's backend."""
    headers = {"authorization": f"Bearer {shop.service_secret}"}
    return Client().get(f"{PATH}/{public_id}", query, headers=headers)


def code(answer: Any) -> tuple[int, str, str | None]:
    """Return status, code and field of a refusal."""
    body = json.loads(answer.content)
    return answer.status_code, body["code"], body.get("field")


def test_a_backtest_is_asked_for_and_shown_when_it_is_done(shop: Shop) -> None:
    draft = make_version(shop.product)
    asked = post(
        shop,
        {
            "month": "2026-10",
            "versions": [shop.version.public_id, draft.public_id],
            "plans": [NAMED],
            "customers": [shop.customer.external_id],
            "product": shop.product.public_id,
        },
    )
    told = json.loads(asked.content)
    assert asked.status_code == 202
    assert asked["Location"] == f"{PATH}/{told['id']}"
    assert told["url"] == f"/simulator/{told['id']}"
    assert (told["state"], told["customer_count"]) == ("queued", 1)
    assert [plan["version"] for plan in told["plans"]][2] is None
    waiting = json.loads(show(shop, told["id"]).content)
    assert "result" not in waiting
    backtest_jobs.run()
    done = json.loads(show(shop, told["id"]).content)
    assert (done["state"], done["done_count"]) == ("done", 1)
    assert [plan["new"] for plan in done["result"]["plans"]] == ["6.03", "6.03", "6"]
    (customer,) = done["customers"]
    assert customer["customer"] == shop.customer.public_id
    assert customer["old"]["amount"] == "6.03"
    assert [line["charge"] for line in customer["new"][2]["lines"]] == ["x"]
    entry = AuditEntry.objects.get(action="backtest.requested")
    assert (entry.actor, entry.actor_label) == (None, "service key")


def test_the_customers_of_a_result_come_a_page_at_a_time(shop: Shop) -> None:
    others = [
        Customer.objects.create(tenant=shop.tenant, name=f"C{n}", currency="USD")
        for n in range(4)
    ]
    names = [shop.customer.public_id, *(other.public_id for other in others)]
    given = {"month": "2026-10", "plans": [NAMED], "customers": names}
    public_id = json.loads(post(shop, given).content)["id"]
    assert "next" not in json.loads(show(shop, public_id).content)
    backtest_jobs.run()
    whole = json.loads(show(shop, public_id).content)
    assert whole["next"] is None
    seen: list[Any] = []
    query = {"limit": "2"}
    sizes = []
    while True:
        told = json.loads(show(shop, public_id, **query).content)
        assert told["result"] == whole["result"]
        sizes.append(len(told["customers"]))
        seen += told["customers"]
        if told["next"] is None:
            break
        query["after"] = told["next"]
    assert sizes == [2, 2, 1]
    assert seen == whole["customers"]
    assert {row["customer"] for row in seen} == set(names)


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        *(("limit", text, "invalid_parameter") for text in ("0", "101", "x", "²", "")),
        *(("after", text, "invalid_parameter") for text in ("x", "\0", "cus_x", "")),
        ("page", "2", "unknown_parameter"),
    ],
)
def test_a_wrong_parameter_is_named(
    shop: Shop, name: str, value: str, refused: str
) -> None:
    public_id = json.loads(post(shop, FOR_ALL).content)["id"]
    assert code(show(shop, public_id, **{name: value})) == (400, refused, name)
    stranger = Customer.objects.create(
        tenant=shop.tenant, name="Not in it", currency="USD"
    )
    other = show(shop, public_id, after=stranger.public_id)
    assert code(other) == (400, "invalid_parameter", "after")


def test_without_customers_all_subscribers_are_priced(shop: Shop) -> None:
    for chosen in ({}, {"customers": None}):
        given = {"month": "2026-10", "plans": [NAMED], **chosen}
        assert json.loads(post(shop, given).content)["customer_count"] == 1
    assert set(Backtest.objects.values_list("all_customers", flat=True)) == {True}


def test_the_same_key_gets_the_first_answer(shop: Shop) -> None:
    given = {"month": "2026-10", "versions": [shop.version.public_id]}
    first = post(shop, given, idempotency_key="k-1")
    again = post(shop, given, idempotency_key="k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert json.loads(first.content) == json.loads(again.content)
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert Backtest.objects.count() == 1
    other = post(shop, {**given, "month": "2026-09"}, idempotency_key="k-1")
    assert code(other) == (422, "idempotency_key_reused", "Idempotency-Key")
    wrong = post(shop, given, idempotency_key="no spaces")
    assert code(wrong) == (400, "invalid_idempotency_key", "Idempotency-Key")
    assert IdempotencyKey.objects.get().status == 202


def test_a_refused_request_leaves_its_key_free(shop: Shop) -> None:
    wrong = post(shop, {"month": "2026-10", "versions": []}, idempotency_key="k")
    assert code(wrong) == (422, "no_plan", "versions")
    right = {"month": "2026-10", "versions": [shop.version.public_id]}
    assert post(shop, right, idempotency_key="k").status_code == 202


FOR_ALL = {"month": "2026-10", "plans": [NAMED]}
WRONG: list[tuple[Any, tuple[int, str, str | None]]] = [
    (b" ", (400, "invalid_body", None)),
    (b"{", (400, "invalid_json", None)),
    (b"[]", (400, "invalid_body", None)),
    (b'{"month": "2026-10", "month": "2026-10"}', (400, "duplicate_key", "month")),
    ({"months": "2026-10"}, (400, "unknown_field", "months")),
    ({"versions": []}, (400, "missing_field", "month")),
    ({"month": 202610}, (422, "invalid_month", "month")),
    ({"month": "2026-11"}, (422, "invalid_month", "month")),
    ({"month": "2026-10", "versions": "x"}, (400, "invalid_field", "versions")),
    ({"month": "2026-10", "versions": [1]}, (400, "invalid_field", "versions")),
    ({"month": "2026-10", "versions": ["x"]}, (422, "unknown_version", "versions")),
    ({"month": "2026-10", "plans": {}}, (400, "invalid_field", "plans")),
    ({"month": "2026-10", "plans": [{}]}, (422, "missing_key", "plans[0]")),
    ({"month": "2026-10", "plans": [NAMED] * 5}, (422, "too_many_plans", "versions")),
    ({**FOR_ALL, "customers": "all"}, (400, "invalid_field", "customers")),
    ({**FOR_ALL, "customers": ["x"]}, (422, "unknown_customer", "customers")),
    ({**FOR_ALL, "customers": ["a\0"]}, (400, "invalid_field", "customers[0]")),
    (
        {"month": "2026-10", "plans": [{**NAMED, "note": {"a\0": 1}}]},
        (400, "invalid_field", "plans[0].note"),
    ),
    ({**FOR_ALL, "product": 7}, (400, "invalid_field", "product")),
    ({**FOR_ALL, "product": "prd_x"}, (422, "unknown_product", "product")),
]


@pytest.mark.parametrize(("value", "expected"), WRONG)
def test_what_cannot_be_understood_is_refused(
    shop: Shop, value: Any, expected: tuple[int, str, str | None]
) -> None:
    assert code(post(shop, value)) == expected
    assert not Backtest.objects.exists()


def test_floats_in_plan_json_are_refused(shop: Shop) -> None:
    body = json.loads(json.dumps(NAMED))
    body["charges"][0]["price"]["unit_amount"] = 0.1
    answer = post(shop, {"month": "2026-10", "plans": [body]})
    assert code(answer) == (422, "wrong_type", "plans[0]")


def test_only_json_of_bounded_size_is_read(shop: Shop) -> None:
    assert code(post(shop, b"{}", content_type="text/plain"))[0] == 415
    big = gzip.compress(b" " * 20_000_000)
    assert code(post(shop, big, content_encoding="gzip"))[0] == 413


def test_only_service_keys_that_may_read_are_let_in(shop: Shop) -> None:
    given = {"month": "2026-10", "versions": [shop.version.public_id]}
    unauthorised = (401, "invalid_credentials", None)
    strangers = ["", "Bearer x", f"Bearer {shop.secret}", "Basic eDp5"]
    for value in strangers:
        assert code(post(shop, given, authorization=value)) == unauthorised
    _, secret = service_keys.issue(
        tenant=shop.tenant, name="n", scopes=["ingest", "check"], actor=None
    )
    lacking = post(shop, given, authorization=f"Bearer {secret}")
    assert code(lacking) == (403, "insufficient_scope", None)
    service_keys.revoke(key=shop.service_key, actor=None)
    assert code(post(shop, given)) == unauthorised
    assert code(show(shop, "bkt_x")) == unauthorised
    url = f"{PATH}?api_key={shop.service_secret}"
    leaked = Client().post(url, b"{}", content_type="application/json")
    assert leaked.status_code == 401


def test_an_expired_key_is_refused(shop: Shop) -> None:
    _, secret = service_keys.issue(
        tenant=shop.tenant,
        name="n",
        scopes=["read"],
        actor=None,
        expires_at=clock.now() - dt.timedelta(seconds=1),
    )
    answer = post(shop, {}, authorization=f"Bearer {secret}")
    assert code(answer)[:2] == (401, "invalid_credentials")


def test_what_is_another_tenants_is_not_there(shop: Shop) -> None:
    with clock.travel(OCTOBER):
        other = make_shop(since=OCTOBER)
    base = {"month": "2026-10"}
    foreign = post(shop, {**base, "versions": [other.version.public_id]})
    assert code(foreign) == (422, "unknown_version", "versions")
    foreign = post(shop, {**base, "plans": [NAMED], "product": other.product.public_id})
    assert code(foreign) == (422, "unknown_product", "product")
    customers = [other.customer.public_id, other.customer.external_id]
    for name in customers:
        foreign = post(shop, {**base, "plans": [NAMED], "customers": [name]})
        assert code(foreign) == (422, "unknown_customer", "customers")
    made = json.loads(post(other, {**base, "plans": [NAMED]}).content)
    assert show(other, made["id"]).status_code == 200
    assert code(show(shop, made["id"]))[0] == 404
    for name in ("bkt_x", "cus_x", "0"):
        assert code(show(shop, name)) == (404, "not_found", None)


def test_other_methods_are_refused(shop: Shop) -> None:
    for method in ("get", "put", "delete", "options"):
        answer = getattr(Client(), method)(PATH)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")
    answer = Client().post(f"{PATH}/bkt_x")
    assert (answer.status_code, answer["Allow"]) == (405, "GET")
