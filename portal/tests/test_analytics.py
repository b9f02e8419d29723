"""Usage and cost pages: figures against plain SQL over the raw facts, roles, links."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from metering import pipeline
from metering.models import UsageRollup
from portal import ranges
from portal.selectors import analytics, cogs, figures
from portal.selectors.analytics import Row, Sums
from portal.tests.scene import MODEL, NOW, Scene, sign_in
from portal.ui.figures import percent_text
from tests.factories import add_cost

pytestmark = pytest.mark.django_db
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
ROLES = {Role.OWNER, Role.PRODUCT_MANAGER, Role.FINANCE}

# The raw facts, without any sum that Aforo keeps.
RAW = """
SELECT {column}, count(*), sum((e.body->'measurements'->>'input_tokens')::numeric),
  sum((SELECT sum(l.amount) FROM billing_ledgerentry l WHERE l.event_id = e.id)),
  sum(f.amount), count(*) FILTER (WHERE f.amount IS NULL),
  count(*) FILTER (WHERE e.status = 'FAILED')
FROM metering_usageevent e JOIN metering_costfact f ON f.event_id = e.id
WHERE e.occurred_at >= %s AND e.occurred_at < %s GROUP BY 1
"""
COLUMNS = {
    "product": "e.product_id",
    "customer": "e.customer_id",
    "team": "e.team_id",
    "agent": "e.agent_id",
    "model": "COALESCE(e.body->'properties'->>'model', '')",
    "provider": "f.provider",
    "tool": "e.tool_name",
    "type": "e.event_type",
}


def raw(
    name: str, since: dt.datetime, until: dt.datetime
) -> dict[str, tuple[Any, ...]]:
    """Return what plain SQL says of a dimension."""
    with connection.cursor() as cursor:
        cursor.execute(RAW.format(column=COLUMNS[name]), [since, until])
        return {
            analytics.value_text(name, row[0]): tuple(v or 0 for v in row[1:])
            for row in cursor.fetchall()
        }


def shown(rows: list[Row]) -> dict[str, tuple[Any, ...]]:
    """Return the same of the rows of a page."""
    return {
        row.value: (
            row.now.events,
            row.now.input_tokens,
            row.now.revenue,
            row.now.cost,
            row.now.unknown,
            row.now.errors,
        )
        for row in rows
        if row.now.events
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_every_breakdown_equals_the_raw_facts(scene: Scene, name: str) -> None:
    client = sign_in(scene, Role.OWNER)
    page = client.get("/analytics/usage", {"by": name})
    rows = [entry["row"] for entry in page.context["listed"]]
    facts = raw(name, NOVEMBER, NOW)
    assert shown(rows) == facts
    assert facts  # There is something to compare.
    total = page.context["total"].now
    assert total.events == sum(row[0] for row in facts.values()) == 13
    assert total.revenue == sum(row[2] for row in facts.values())
    assert page.context["adds_up"]
    course = page.context["chart"]["rows"]
    assert sum(sum(s["values"]) for s in course) == total.revenue


def test_the_span_before_is_compared_with(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    page = client.get("/analytics/usage", {"period": "last", "by": "model"})
    assert page.context["asked"].choice.span == figures.Span(
        dt.datetime(2026, 10, 1, tzinfo=dt.UTC), NOVEMBER
    )
    october = raw("model", dt.datetime(2026, 10, 1, tzinfo=dt.UTC), NOVEMBER)
    assert shown([e["row"] for e in page.context["listed"]]) == october
    now = client.get("/analytics/usage", {"by": "model"})
    row = next(e["row"] for e in now.context["listed"] if e["row"].value == MODEL)
    # 1–18 November against 1–18 October.
    assert row.before.events == 6
    assert "vs 1–18 Oct" in now.content.decode()


def test_dates_are_days_and_nonsense_is_said(scene: Scene) -> None:
    def spans(**query: str) -> Any:
        return ranges.spans(query, NOW)

    _, span, before, problem = spans(**{"from": "2026-11-02", "to": "2026-11-03"})
    assert (span.start.day, span.end.day, before.start.day) == (2, 4, 31)
    assert not problem
    assert spans(**{"from": "2026-11-03", "to": "2026-11-02"})[3]
    assert spans(period="custom")[3]
    _, week, past, _ = spans(period="7")
    assert week.start == dt.datetime(2026, 11, 12, tzinfo=dt.UTC)
    assert past.end == NOW - dt.timedelta(days=7)
    client = sign_in(scene, Role.OWNER)
    text = client.get("/analytics/usage?period=custom&from=x").content.decode()
    assert "Give a first and a last day" in text
    assert client.get("/analytics/usage?customer=cus_nobody").status_code == 404
    assert client.get("/analytics/usage?model=%00").status_code == 404


def test_every_figure_leads_to_the_events_behind_it(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    for name in COLUMNS:
        page = client.get("/analytics/usage", {"by": name})
        for entry in page.context["listed"]:
            behind = client.get(entry["at"]["events"])
            assert len(behind.context["page"].rows) == entry["row"].now.events, name
            failed = client.get(entry["at"]["failed"])
            assert len(failed.context["page"].rows) == entry["row"].now.errors
    costs = client.get("/analytics/cogs")
    (unknown,) = (e for e in costs.context["entries"] if e["row"].now.unknown)
    assert unknown["row"].value == "unpriced-model"
    assert len(client.get(unknown["at"]["unknown"]).context["page"].rows) == 1


def test_metrics_are_summed_each_in_its_unit(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    page = client.get("/analytics/usage", {"by": "metric"})
    found = {m["row"].name: m for m in page.context["measured"]}
    assert found["tool_calls"]["row"].now == 6
    assert found["latency_ms"]["row"].now == 4800
    assert found["input_tokens"]["row"].now == 6 * 2400 + 15 + 900
    behind = client.get(found["tool_calls"]["events"])
    assert len(behind.context["page"].rows) == 6
    chart = client.get("/analytics/usage" + found["tool_calls"]["chart"])
    assert chart.context["total"].now.quantity == 6
    assert sum(chart.context["chart"]["rows"][0]["values"]) == 6
    rows = client.get("/analytics/usage.csv?by=metric").content.decode()
    assert [r["measurement"] for r in csv.DictReader(io.StringIO(rows))] == sorted(
        found
    )


def test_csv_has_exactly_the_rows_of_the_filtered_table(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    query = {"by": "tool", "agent": scene.agent.public_id, "type": "mcp.tool_invoked"}
    page = client.get("/analytics/usage", query)
    text = client.get("/analytics/usage.csv", query).content.decode()
    (row,) = csv.DictReader(io.StringIO(text))
    (entry,) = page.context["listed"]
    assert (row["value"], int(row["events"])) == ("search", entry["row"].now.events)
    assert Decimal(row["revenue"]) == entry["row"].now.revenue == Decimal("0.06")
    costs = client.get("/analytics/cogs.csv", {"by": "model"}).content.decode()
    rows = {r["name"]: r for r in csv.DictReader(io.StringIO(costs))}
    assert rows["unpriced-model"]["cost"] == ""
    assert Decimal(rows[MODEL]["cost"]) == raw("model", NOVEMBER, NOW)[MODEL][3]


def test_nobody_but_owner_product_and_finance_sees_costs(scene: Scene) -> None:
    paths = ("", ".csv", "/anomalies")
    for role in Role:
        client = sign_in(scene, role)
        for path in paths:
            answer = client.get(f"/analytics/cogs{path}")
            assert answer.status_code == (200 if role in ROLES else 403), (role, path)
        usage = client.get("/analytics/usage")
        assert usage.status_code == (403 if role == Role.DEVELOPER else 200)
        if role not in ROLES and role != Role.DEVELOPER:
            assert "/analytics/cogs" not in usage.content.decode()


def test_costs_agree_with_home_and_with_their_rows(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    home = figures.of_tenant(figures.month_to_date(NOW))["USD"]
    for name in ("model", "customer", "agent", "tool", "product", "provider"):
        page = client.get("/analytics/cogs", {"by": name})
        total = page.context["total"].now.figures
        assert total == home
        rows = [entry["row"].now for entry in page.context["entries"]]
        assert sum(row.revenue for row in rows) == home.revenue
        assert sum(row.cost for row in rows) == home.cost
        assert page.context["fees"] == 99
        assert page.context["adds_up"]
    text = page.content.decode()
    assert "Some costs are not known" in text
    assert "unpriced-model" in text
    week = client.get("/analytics/cogs", {"period": "7"})
    assert week.context["fees"] == 0
    assert "Recurring fees belong to whole months" in week.content.decode()


@pytest.mark.parametrize(
    ("cost", "revenue", "percent"),
    [
        ("148.80", "312.00", "52.3 %"),
        ("87.00", "195.75", "55.6 %"),
        ("96.00", "128.00", "25.0 %"),
        ("18.30", "73.20", "75.0 %"),
    ],
)
def test_worked_margins(cost: str, revenue: str, percent: str) -> None:
    sums = Sums("USD", events=1, revenue=Decimal(revenue), cost=Decimal(cost))
    assert percent_text(sums.figures.margin_ratio) == percent


def test_an_unknown_cost_is_a_dash_and_no_margin(scene: Scene) -> None:
    page = sign_in(scene, Role.OWNER).get("/analytics/cogs?model=unpriced-model")
    total = page.context["total"].now.figures
    assert (total.known_cost, total.margin) == (None, None)
    assert "cost rates are missing" in page.content.decode()


def row(now: Sums, before: Sums, label: str = "A") -> Row:
    """Return a row of a model."""
    return Row("model", label, label, "", now, before)


def sums(events: int, cost: str, revenue: str = "1", tokens: int = 0) -> Sums:
    """Return sums of calls."""
    return Sums(
        "USD",
        events=events,
        input_tokens=tokens,
        cost=Decimal(cost),
        revenue=Decimal(revenue),
    )


def test_movers_say_what_changed() -> None:
    dearer = row(sums(100, "20", tokens=4000), sums(100, "10", tokens=2000))
    more = row(sums(300, "30"), sums(100, "10"), "B")
    new = row(sums(5, "1"), sums(0, "0"), "C")
    gone = row(sums(0, "0"), sums(7, "2"), "D")
    same = row(sums(9, "3"), sums(9, "3"), "E")
    found = cogs.movers([same, new, gone, dearer, more])
    assert [r.label for r in found] == ["B", "A", "D", "C"]
    assert cogs.what_changed(dearer) == "cost per call ▲ 100 %, tokens per call ▲ 100 %"
    assert cogs.what_changed(more) == "calls ▲ 200 %"
    assert cogs.what_changed(new) == "new: 5 calls"
    assert cogs.what_changed(gone) == "no calls any more, 7 before"
    assert cogs.what_changed(same) == "hardly anything"


def test_what_earns_less_than_the_floor_is_named() -> None:
    none = sums(0, "0", "0")
    rows = [
        row(sums(1, "85", "100"), none, "thin"),
        row(sums(1, "80", "100"), none, "just"),
        row(sums(1, "3", "0"), none, "free"),
        row(sums(1, "120", "100"), none, "loss"),
    ]
    found = cogs.below(rows, cogs.FLOOR)
    assert [r.label for r in found] == ["loss", "free", "thin"]


def test_anomalies_are_the_dearest_hundredth(scene: Scene) -> None:
    for _ in range(150):
        scene.store({"input_tokens": 100}, properties={"model": MODEL})
    odd = scene.store({"input_tokens": 90_000}, properties={"model": MODEL})
    pipeline.rate()
    client = sign_in(scene, Role.OWNER)
    found = client.get("/analytics/cogs/anomalies").context["anomalies"]
    assert found[0].event_id == odd.pk
    assert found[0].times == 900
    assert all(a.cost >= a.p99 > 0 for a in found)
    other = client.get("/analytics/cogs/anomalies?tool=search")
    assert other.context["anomalies"] == []
    assert "Nothing stands out" in other.content.decode()


def test_what_providers_report_stands_beside_ours(scene: Scene) -> None:
    add_cost(scene.tenant, model="other", unit="input_uncached_tokens", amount="0.5")
    scene.store(
        {"input_tokens": 2},
        properties={"model": "other"},
        body={"cost": {"amount": "1.25", "currency": "USD"}},
    )
    pipeline.rate()
    client = sign_in(scene, Role.OWNER)
    ((vendor, behind),) = client.get("/analytics/cogs").context["reported"]
    assert len(client.get(behind).context["page"].rows) == 1
    assert (vendor.model, vendor.calls, vendor.ours) == ("other", 1, 1)
    assert (vendor.gap, vendor.gap_ratio) == (Decimal("0.25"), Decimal("0.25"))


def test_the_pages_ask_a_fixed_number_of_statements(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    for path in ("/analytics/usage?by=agent", "/analytics/cogs?by=agent"):
        with CaptureQueriesContext(
            connection,
        ) as few:
            client.get(path)
        assert len(few) <= 32


def test_other_currencies_stand_apart(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    own = client.get("/analytics/usage").context["total"].now
    UsageRollup.objects.filter(tool_name="search").update(currency="EUR")
    page = client.get("/analytics/usage")
    assert page.context["total"].now.events == own.events - 6
    assert page.context["asked"].others["EUR"].event_count == 6
    assert "events in EUR" in page.content.decode()
    euros = client.get("/analytics/usage?currency=EUR")
    assert euros.context["total"].now.events == 6
    assert euros.context["total"].now.currency == "EUR"


def test_empty_pages_say_why(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    days = "period=custom&from=2026-01-01&to=2026-01-02"
    assert (
        "No usage in these days"
        in client.get(f"/analytics/usage?{days}").content.decode()
    )
    filtered = client.get("/analytics/usage?model=nothing").content.decode()
    assert "No usage matches" in filtered
    assert "Clear filters" in filtered
    assert client.get(f"/analytics/cogs?{days}").status_code == 200
    assert client.get(f"/analytics/usage?by=metric&{days}").status_code == 200


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/analytics/usage?by=foo", "Shown is product"),
        ("/analytics/usage?measure=foo", "Shown is revenue"),
        ("/analytics/usage?step=foo", "Shown is what fits the span"),
        ("/analytics/cogs?by=foo", "Shown is by model"),
    ],
)
def test_a_choice_that_there_is_not_is_said(
    scene: Scene, path: str, shown: str
) -> None:
    client = sign_in(scene, Role.OWNER)
    text = client.get(path).content.decode()
    assert "There is no “foo” to show" in text
    assert shown in text
    assert "There is no “" not in client.get(path.partition("?")[0]).content.decode()
