"""Metrics: what is counted, who prices it, and defining what is not counted yet."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import AuditEntry, Role
from aforo.lib.errors import AforoError
from catalog import metrics as rules
from catalog import plans, products
from catalog.models import Metric
from portal.selectors import figures, metrics
from portal.tests.scene import NOW, Scene, make_scene, sign_in
from tests.factories import make_metrics, make_tenant

pytestmark = pytest.mark.django_db

FORM = {
    "name": "Latency",
    "code": "latency",
    "aggregation": "max",
    "field": "latency_ms",
    "event_types": "llm.completion, ",
    "unit": "ms",
}


def metric_of(scene: Scene, code: str) -> Metric:
    """Return a metric of the scene."""
    return Metric.objects.get(tenant=scene.tenant, code=code)


def test_the_list_shows_source_use_and_events_of_the_day(scene: Scene) -> None:
    page = sign_in(scene, Role.VIEWER).get("/metrics")
    rows = {row.metric.code: row for row in page.context["rows"]}
    assert rows["input_tokens"].event_count == 14  # Of both months: all came today.
    assert rows["tool_calls"].event_count == 12
    (user,) = rows["output_tokens"].users
    assert user.version == scene.version
    text = page.content.decode()
    assert scene.version.plan.name in text
    assert "New metric" not in text  # A viewer only looks.


def test_the_list_takes_the_same_statements_for_more_metrics(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    client.get("/metrics")
    with CaptureQueriesContext(
        connection,
    ) as before:
        client.get("/metrics")
    for number in range(5):
        scene.define_metric(f"unit_{number}")
    with CaptureQueriesContext(connection) as after:
        client.get("/metrics")
    assert len(after) == len(before)


def test_what_no_metric_counts_is_listed_and_defined_in_one_click(
    scene: Scene,
) -> None:
    Metric.objects.filter(tenant=scene.tenant, code="tool_calls").delete()
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    page = client.get("/metrics")
    seen = {(s.kind, s.name): s.event_count for s in page.context["strangers"]}
    assert seen["type", "mcp.tool_invoked"] == 12
    assert seen["measurement", "tool_calls"] == 12
    assert ("type", "llm.completion") not in seen
    assert ("measurement", "input_tokens") not in seen
    assert "seen that no metric counts" in page.content.decode()

    made = client.post("/metrics/seen", {"field": "tool_calls"})
    assert made["Location"] == "/metrics/tool_calls"
    metric = metric_of(scene, "tool_calls")
    assert (metric.aggregation, metric.unit) == ("sum", "call")
    client.post("/metrics/seen", {"type": "mcp.tool_invoked"})
    counted = metric_of(scene, "mcp_tool_invoked")
    assert (counted.aggregation, counted.event_types) == (
        "count",
        ["mcp.tool_invoked"],
    )
    left = client.get("/metrics").context["strangers"]
    assert ("measurement", "tool_calls") not in {(s.kind, s.name) for s in left}
    assert AuditEntry.objects.filter(action="metric.created").latest("id").actor


def test_a_code_that_is_taken_gets_a_number(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    for code in ("input_tokens_2", "input_tokens_3"):
        made = client.post("/metrics/seen", {"field": "input_tokens"})
        assert made["Location"] == f"/metrics/{code}"


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        ({}, "Name a measurement or an event type."),
        ({"field": "a", "type": "b"}, "Name a measurement or an event type."),
        ({"field": "x" * 90}, "at most 80 characters"),
        ({"field": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_defined_in_one_click_is_said(
    scene: Scene, posted: dict[str, str], said: str
) -> None:
    client = sign_in(scene, Role.OWNER)
    count = Metric.objects.count()
    answer = client.post("/metrics/seen", posted, follow=True)
    assert said in answer.content.decode()
    assert Metric.objects.count() == count


def test_a_metric_page_shows_what_events_add_and_who_prices_it(scene: Scene) -> None:
    page = sign_in(scene, Role.VIEWER).get("/metrics/input_tokens")
    text = page.content.decode()
    assert [m.value for m in page.context["matches"]][:2] == [
        Decimal(900),
        Decimal(2405),
    ]
    assert len(page.context["matches"]) == 5
    assert page.context["users"][0].version == scene.version
    assert "one code never means two figures" in text
    assert page.context["course"].days[NOW.date()] == 6 * 2400 + 15 + 900
    assert "Edit metric" not in text


@pytest.mark.parametrize(
    ("aggregation", "field", "value"),
    [
        ("count", "", 13),
        ("count", "latency_ms", 6),
        ("sum", "tool_duration_ms", 6 * 420),
        ("sum", "input_uncached_tokens", 6 * (2400 - 512) + 15 + 900),
        ("max", "input_tokens", 2405),
        ("min", "input_tokens", 900),
        ("avg", "latency_ms", 800),
        ("unique", "model", 2),
        ("latest", "output_tokens", 150),
        ("sum", "cogs", None),
    ],
)
def test_the_course_of_every_aggregation_equals_its_events(
    scene: Scene, aggregation: str, field: str, value: int | None
) -> None:
    metric = Metric(
        tenant=scene.tenant, code="x", aggregation=aggregation, field=field, unit="u"
    )
    span = figures.last_days(NOW, 30)
    course = metrics.trend(scene.tenant.pk, metric, span.start, span.end, "USD")
    today = course.days[NOW.date()]
    assert course.since is None
    assert len(course.days) == 30
    assert today == value if value is not None else today > 0
    found = metrics.matching(scene.tenant.pk, metrics.definition(metric))
    assert len(found) == 5


def test_days_that_are_not_read_whole_are_left_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LOOK_BACK", 5)
    metric = Metric(
        tenant=scene.tenant, code="x", aggregation="max", field="latency_ms", unit="ms"
    )
    span = figures.last_days(NOW, 30)
    course = metrics.trend(scene.tenant.pk, metric, span.start, span.end, "USD")
    assert course.since == NOW.date() + dt.timedelta(days=1)
    assert course.days == {}
    page = sign_in(scene, Role.VIEWER).get("/metrics/input_tokens")
    assert page.status_code == 200


def test_a_metric_is_made_and_audited(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    answer = client.post("/metrics/new", FORM)
    assert answer["Location"] == "/metrics/latency"
    made = metric_of(scene, "latency")
    assert made.event_types == ["llm.completion"]
    entry = AuditEntry.objects.get(action="metric.created", object_id=made.public_id)
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"code": "Latency"}, "code", "small letters"),
        ({"code": "input_tokens"}, "code", "input_tokens is taken."),
        ({"code": "preview"}, "code", "a page of its own"),
        ({"code": ""}, "code", "required"),
        ({"name": ""}, "name", "required"),
        ({"name": "x" * 121}, "name", "120"),
        ({"field": ""}, "field", "Say which measurement"),
        ({"field": "x" * 81}, "field", "80"),
        ({"field": "a\x00"}, "field", "Null characters"),
        ({"aggregation": "median"}, "aggregation", "median"),
        ({"unit": ""}, "unit", "required"),
        ({"event_types": "y" * 81}, "event_types", "80 characters"),
    ],
)
def test_a_refused_metric_keeps_what_was_typed(
    scene: Scene, change: dict[str, str], field: str, said: str
) -> None:
    answer = sign_in(scene, Role.OWNER).post("/metrics/new", FORM | change)
    assert answer.status_code == 422
    assert said in " ".join(answer.context["form"].errors[field])
    assert 'value="ms"' in answer.content.decode() or "unit" in change
    assert not Metric.objects.filter(code="latency").exists()


def test_a_priced_metric_keeps_what_decides_its_quantity(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    page = client.get("/metrics/input_tokens/edit")
    assert page.context["form"].fields["aggregation"].disabled
    answer = client.post(
        "/metrics/input_tokens/edit",
        FORM | {"name": "Tokens in", "code": "other", "unit": "token"},
    )
    assert answer["Location"] == "/metrics/input_tokens"
    metric = metric_of(scene, "input_tokens")
    assert (metric.name, metric.aggregation, metric.field) == (
        "Tokens in",
        "sum",
        "input_tokens",
    )
    with pytest.raises(AforoError, match="immutable_field") as refused:
        rules.update_metric(metric=metric, changes={"field": "x"}, actor=None)
    assert refused.value.field == "field"


def test_a_metric_that_only_a_draft_names_can_still_change(scene: Scene) -> None:
    scene.define_metric("pages")
    body = {
        "currency": "USD",
        "charges": [{"key": "p", "name": "P", "metric": "pages"}],
    }
    plan = plans.create_plan(product=scene.product, name="N", code="n", actor=None)
    plans.save_draft(plan=plan, body=body, limits={}, actor=None)
    client = sign_in(scene, Role.OWNER)
    answer = client.post("/metrics/pages/edit", FORM | {"code": "pages"})
    assert answer.status_code == 302
    assert metric_of(scene, "pages").field == "latency_ms"
    rows = client.get("/metrics").context["rows"]
    (row,) = [r for r in rows if r.metric.code == "pages"]
    assert row.users[0].label.endswith("(draft)")
    changed = AuditEntry.objects.get(action="metric.changed")
    assert changed.changes["field"] == ["pages", "latency_ms"]


def test_the_preview_follows_what_is_typed(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    told = client.get("/metrics/preview", {"aggregation": "max", "field": "latency_ms"})
    assert [m.value for m in told.context["matches"]] == [Decimal(800)] * 5
    assert "<html" not in told.content.decode()
    for query, said in (
        ({"aggregation": "sum"}, "Say which measurement"),
        ({"aggregation": "sum", "field": "nothing"}, "would be counted"),
        ({"aggregation": "sum", "field": "a\x00"}, "Choose an aggregation"),
        ({}, "Choose an aggregation"),
        ({"aggregation": "count", "event_types": "a.b"}, "would be counted"),
    ):
        assert said in client.get("/metrics/preview", query).content.decode()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.FINANCE, Role.OPERATIONS])
def test_only_owner_and_product_manager_define_metrics(
    scene: Scene, role: Role
) -> None:
    client = sign_in(scene, role)
    for path in ("/metrics", "/metrics/input_tokens"):
        assert client.get(path).status_code == 200
    for path in ("/metrics/new", "/metrics/input_tokens/edit", "/metrics/preview"):
        assert client.get(path).status_code == 403
    assert client.post("/metrics/new", FORM).status_code == 403
    assert client.post("/metrics/input_tokens/edit", FORM).status_code == 403
    assert client.post("/metrics/seen", {"field": "latency_ms"}).status_code == 403


def test_another_tenants_metric_is_not_found(scene: Scene) -> None:
    stranger = make_tenant()
    products.create_metric(
        tenant=stranger,
        code="theirs",
        name="Theirs",
        aggregation=Metric.Aggregation.COUNT,
        unit="event",
        actor=None,
    )
    client = sign_in(scene, Role.OWNER)
    for path in ("/metrics/theirs", "/metrics/theirs/edit", "/metrics/nothing"):
        assert client.get(path).status_code == 404
    assert client.post("/metrics/theirs/edit", FORM).status_code == 404
    assert "theirs" not in client.get("/metrics").content.decode()


def test_a_new_tenant_is_told_what_a_metric_is(as_olga: Client) -> None:
    assert "No metrics yet" in as_olga.get("/metrics").content.decode()


def test_metrics_are_found_by_the_search(scene: Scene) -> None:
    page = sign_in(scene, Role.VIEWER).get("/search", {"q": "input_tok"})
    assert 'href="/metrics/input_tokens"' in page.content.decode()


def test_two_tenants_see_their_own_events_only(scene: Scene) -> None:
    other = make_scene()
    make_metrics(make_tenant())
    found = metrics.recent(other.tenant.pk, NOW)
    assert sum(s.event_count for s in found.shapes) == 26
