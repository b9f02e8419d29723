"""Sessions, events and products: what traffic looks like, taken apart."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from aforo.lib import clock, ids
from billing.models import LedgerEntry
from catalog.models import PlanVersion
from catalog.pricing import parse_plan
from metering import pipeline
from metering.models import Session, Unrateable, UsageEvent
from portal.selectors import events, sessions, waterfall
from portal.tests.scene import NOW, Scene, event_path, make_scene, sign_in
from portal.trace import Stage, stage_of, stage_of_charge

pytestmark = pytest.mark.django_db


def november(scene: Scene) -> Session:
    """Return this month's session."""
    return Session.objects.get(customer=scene.customer, key="run-1118")


def test_the_list_of_sessions_filters_sorts_and_exports(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    page = client.get("/sessions", {"sort": "started"})
    assert [s.key for s in page.context["page"].rows] == ["run-1010", "run-1118"]
    found = client.get("/sessions", {"q": "1118", "customer": scene.customer.name})
    assert [s.key for s in found.context["page"].rows] == ["run-1118"]
    rows = client.get("/sessions.csv", {"q": "1118"}).content.decode()
    (row,) = csv.DictReader(io.StringIO(rows))
    assert Decimal(row["price"]) == november(scene).price
    none = client.get("/sessions", {"q": "nothing"}).content.decode()
    assert "No session matches" in none


@pytest.mark.parametrize("path", ["/events", "/sessions", "/invoices", "/customers"])
def test_every_filter_has_a_name(scene: Scene, path: str) -> None:
    text = sign_in(scene, Role.VIEWER).get(path).content.decode()
    assert "invalid name" not in text
    assert '<label class="label"' in text


def test_the_trace_sums_to_the_sessions_counters(scene: Scene) -> None:
    session = november(scene)
    trace = sessions.trace(session)
    by_stage = {row.stage: row for row in trace.rows}
    assert trace.agrees
    assert trace.price == session.price == sum(r.price for r in trace.rows)
    assert trace.cost == session.cost
    assert by_stage[Stage.TOOL].quantity == 6
    assert by_stage[Stage.TOOL].price == Decimal("0.06")
    assert by_stage[Stage.TOOL].cost == Decimal("0.0126")
    assert by_stage[Stage.PROMPT].parts == ["Input tokens"]
    assert by_stage[Stage.OUTPUT].quantity == 900
    assert Stage.OTHER not in by_stage
    page = sign_in(scene, Role.VIEWER).get(f"/sessions/{session.public_id}")
    text = page.content.decode()
    assert "Equals the session's counters" in text
    for word in ("PROMPT", "REASON", "TOOL", "OUTPUT", "Σ BILLED"):
        assert word in text


def test_the_waterfall_lies_on_one_time_line(scene: Scene) -> None:
    fall = waterfall.waterfall(november(scene))
    bars = sorted(fall.bars, key=lambda bar: bar.event.occurred_at)
    assert not fall.is_cut
    assert len(bars) == 12
    assert bars[0].left == 0
    assert bars[0].duration_ms == 800
    assert all(b.left >= 0 and b.left + b.width <= 100 for b in bars)
    assert [b.failed for b in bars].count(True) == 1


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("input_tokens", Stage.PROMPT),
        ("cache_read_tokens", Stage.PROMPT),
        ("reasoning_steps", Stage.REASON),
        ("tool_calls", Stage.TOOL),
        ("tool.call", Stage.TOOL),
        ("output_tokens", Stage.OUTPUT),
        ("event.call", Stage.OTHER),
    ],
)
def test_meters_and_cost_units_have_a_stage(name: str, stage: Stage) -> None:
    assert stage_of(name) is stage


def test_a_count_of_tool_events_is_a_tool_charge_and_a_fee_is_none() -> None:
    metric = {"key": "n", "aggregation": "count", "event_types": ["mcp.tool_invoked"]}
    price = {"model": "per_unit", "unit_amount": "1"}
    fee = {"model": "flat", "amount": "1", "due": "advance"}
    plan = parse_plan(
        {
            "currency": "USD",
            "charges": [
                {"key": "tools", "name": "Tools", "metric": metric, "price": price},
                {"key": "fee", "name": "Fee", "price": fee},
            ],
        }
    )
    assert [stage_of_charge(c) for c in plan.charges] == [Stage.TOOL, Stage.OTHER]


def test_the_tail_shows_what_became_of_each_event(scene: Scene) -> None:
    scene.store({"strange_units": 3}, event_id="odd-1")
    pipeline.rate()
    scene.store({"input_tokens": 3}, event_id="new-1")
    client = sign_in(scene, Role.VIEWER)
    rows = client.get("/events").context["rows"]
    status = {row.event.event_id: row.status for row in rows}
    assert status["new-1"] == "pending"
    assert status["odd-1"] == "unrateable"
    assert sorted(set(status.values())) == ["pending", "rated", "unrateable"]


@pytest.mark.parametrize(
    ("wanted", "count"), [("pending", 1), ("unrateable", 1), ("rated", 26)]
)
def test_each_status_has_its_own_rows(scene: Scene, wanted: str, count: int) -> None:
    scene.store({"strange_units": 3})
    pipeline.rate()
    scene.store({"input_tokens": 3})
    page = sign_in(scene, Role.VIEWER).get("/events", {"status": wanted})
    rows = page.context["rows"]
    assert {row.status for row in rows} == {wanted}
    assert len(rows) == count
    text = sign_in(scene, Role.VIEWER).get("/events.csv", {"status": wanted})
    assert len(text.content.decode().splitlines()) == count + 1


def test_an_event_that_came_late_says_when_it_was_received(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    scene.store({"input_tokens": 3}, event_id="late-1", at=NOW - dt.timedelta(hours=3))
    scene.store({"input_tokens": 3}, event_id="now-1", at=clock.now())
    page = client.get("/events")
    late = {row.event.event_id: row.came_late for row in page.context["rows"]}
    assert (late["late-1"], late["now-1"]) == (True, False)
    text = page.content.decode()
    assert "Newest arrivals first" in text
    assert text.count("received <time") == sum(late.values())


def test_a_day_as_until_is_counted_whole(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)

    def count(**query: str) -> int:
        return len(client.get("/events", query).context["rows"])

    day = f"{NOW:%Y-%m-%d}"
    assert count(since=day, until=day) == count(
        since=f"{day}T00:00Z", until=f"{NOW + dt.timedelta(days=1):%Y-%m-%d}T00:00Z"
    )
    assert count(since=day, until=day) > 0
    assert count(since=day, until=f"{day}T00:00Z") == 0


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("text", ["zz", "2026-13-01", "9999-12-31", "0001-01-01"])
def test_a_day_that_is_none_is_said_and_lists_nothing(
    scene: Scene, name: str, text: str
) -> None:
    client = sign_in(scene, Role.VIEWER)
    answer = client.get("/events", {name: text})
    assert answer.status_code == 200
    said = f"“{text}” is no day or time" in answer.content.decode()
    assert said is (text != "0001-01-01")
    if said:
        assert answer.context["rows"] == []
        assert len(client.get("/events.csv", {name: text}).content.splitlines()) == 1


def test_events_are_found_by_exact_ids_types_and_customers(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)

    def count(**query: str) -> int:
        return len(client.get("/events", query).context["rows"])

    assert count(q="work-1118") == 12
    assert count(q="req-1118-0") == 1
    assert count(type="mcp.tool_invoked") == 12
    assert count(tool="search", customer=scene.customer.external_id) == 12
    assert count(customer="nobody") == 0
    event = scene.events()[0]
    assert count(q=ids.public("evt", event.pk)) == 1
    assert count(q="' OR 1=1 --") == 0


def test_paging_through_the_tail_shows_every_event_once(scene: Scene) -> None:
    for n in range(60):
        scene.store({"input_tokens": n + 1})
    client = sign_in(scene, Role.VIEWER)
    seen: list[str] = []
    query: dict[str, str] = {}
    while True:
        page = client.get("/events", query)
        seen += [row.event.event_id for row in page.context["rows"]]
        after = page.context["page"].after
        if after is None:
            break
        query = {"after": after}
    assert seen == [e.event_id for e in scene.events()]


def test_the_tail_takes_a_fixed_number_of_statements(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    client.get("/events")
    with CaptureQueriesContext(connection) as few:
        client.get("/events")
    for _ in range(20):
        scene.store({"input_tokens": 1}, properties={"model": "gpt-4o"})
    pipeline.rate()
    with CaptureQueriesContext(connection) as many:
        client.get("/events")
    assert len(many) == len(few) <= 20


def llm(scene: Scene) -> UsageEvent:
    """Return a model call of this month."""
    return scene.events().get(request_id="req-1118-3")


def test_an_event_shows_price_cost_and_margin_with_their_parts(scene: Scene) -> None:
    event = llm(scene)
    page = sign_in(scene, Role.VIEWER).get(event_path(event))
    told = page.context["told"]
    entry = LedgerEntry.objects.get(event_id=event.pk)
    (posted,) = told.posted
    assert page.context["price"] == entry.amount
    assert sum(c.amount for c in posted.charges) == entry.amount
    assert sum(line.amount for line in told.cost_lines) == page.context["cost"]
    assert page.context["margin"] == entry.amount - page.context["cost"]
    assert posted.batch is not None
    assert told.plan.number == scene.version.number
    text = page.content.decode()
    for word in ("Input tokens", "input_uncached_tokens", "gpt-4o", entry.kind.title()):
        assert word in text


def test_an_event_of_an_issued_month_leads_to_its_invoice(scene: Scene) -> None:
    event = scene.events().get(request_id="req-1010-0")
    page = sign_in(scene, Role.VIEWER).get(event_path(event)).content.decode()
    assert f"/invoices/{scene.invoice.public_id}" in page


def test_the_same_piece_of_work_is_shown_as_a_tree(scene: Scene) -> None:
    told = events.story(llm(scene).pk)
    assert told is not None
    assert len(told.family) == 12
    assert [r.is_this for r in told.family].count(True) == 1
    assert [r.is_child for r in told.family].count(True) == 5


def test_an_unknown_cost_says_why(scene: Scene) -> None:
    event = scene.events().filter(body__properties__model="unpriced-model")[0]
    text = sign_in(scene, Role.VIEWER).get(event_path(event)).content.decode()
    assert "no rate for unpriced-model input_uncached_tokens" in text


def test_an_event_of_another_tenant_is_absent(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    assert client.get(event_path(other.events()[0])).status_code == 404
    assert client.get("/events/evt_x").status_code == 404
    session = Session.objects.filter(customer=other.customer)[0]
    assert client.get(f"/sessions/{session.public_id}").status_code == 404


def test_what_has_no_price_is_replayed_after_a_fix(scene: Scene) -> None:
    event = scene.store({"strange_units": 3})
    pipeline.rate()
    path = event_path(event)
    viewer = sign_in(scene, Role.VIEWER)
    assert "Replay" not in viewer.get(path).content.decode()
    chosen = {"event": ids.public("evt", event.pk)}
    assert viewer.post("/events/replay", chosen).status_code == 403
    operator = sign_in(scene, Role.OPERATIONS)
    still = operator.post("/events/replay", chosen, follow=True).content.decode()
    assert "1 still have none" in still
    scene.define_metric("strange_units")
    said = operator.post("/events/replay", chosen, follow=True).content.decode()
    assert "1 of 1 events now have a price" in said
    assert Unrateable.objects.get(event=event).resolved_at is not None


def test_all_events_of_a_reason_are_replayed_together(scene: Scene) -> None:
    for _ in range(3):
        scene.store({"strange_units": 3})
    pipeline.rate()
    scene.define_metric("strange_units")
    operator = sign_in(scene, Role.OPERATIONS)
    listed = operator.get("/events", {"status": "unrateable"}).content.decode()
    assert "reason=unknown_metric" in listed
    operator.post("/events/replay", {"reason": "unknown_metric"})
    assert not Unrateable.objects.filter(resolved_at=None).exists()


def test_a_replay_never_leads_off_the_site(scene: Scene) -> None:
    answer = sign_in(scene, Role.OPERATIONS).post(
        "/events/replay", {"back": "https://evil.test/"}
    )
    assert answer.headers["Location"] == "/events?status=unrateable"


def test_products_show_figures_and_plans_in_words(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    listed = client.get("/products").content.decode()
    assert scene.product.name in listed
    assert "/add/" not in listed
    page = client.get(f"/products/{scene.product.public_id}")
    text = page.content.decode()
    assert "Platform fee" in text
    assert {m.code for m in page.context["metrics"]} == {
        "input_tokens",
        "output_tokens",
        "tool_calls",
    }
    (plan,) = page.context["plans"]
    assert [v.subscriber_count for v in plan.versions] == [1]
    assert PlanVersion.objects.get(pk=plan.versions[0].version.pk)
    days = page.context["days"]
    assert len(days) == 30
    assert str(days[-1]["label"]) == f"{NOW:%-d %b}"


def test_a_tenant_without_products_sees_the_four_types(as_olga: Client) -> None:
    page = as_olga.get("/products").content.decode()
    for word in ("Standard API", "Agentic API", "AI agent", "MCP server"):
        assert word in page
    assert "/admin/catalog/product/add/?type=MCP_SERVER" in page


@pytest.mark.parametrize("path", ["/events", "/sessions", "/invoices", "/customers"])
def test_an_empty_list_says_what_comes_there(as_olga: Client, path: str) -> None:
    page = as_olga.get(path).content.decode()
    assert "yet" in page
    assert "Clear filters" not in page


@pytest.mark.parametrize(
    "path",
    ["/customers", "/products", "/sessions", "/events", "/invoices", "/admin/"],
)
def test_developers_are_told_which_role_it_takes(scene: Scene, path: str) -> None:
    page = sign_in(scene, Role.DEVELOPER).get(path, follow=True)
    assert page.status_code == 403
