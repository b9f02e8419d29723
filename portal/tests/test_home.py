"""Home: the month to date, what needs somebody, the feed."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role, Tenant
from aforo.core.tenancy import as_web
from aforo.lib import clock
from billing.models import CustomerBooks
from guard.models import DoorCount
from metering import pipeline
from portal import live, live_home
from portal.selectors import figures, home
from portal.tests.scene import NOW, Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db


def test_the_figures_are_those_of_the_ledger(scene: Scene) -> None:
    page = sign_in(scene, Role.OWNER).get("/").content.decode()
    month = scene.ledger().filter(usage_period__start_at__month=11)
    total = sum((e.amount for e in month), Decimal(0))
    seen = live_home.overview(scene.tenant, NOW)
    assert seen.now.revenue == total
    assert f'value="{total.normalize():f}"' in page
    assert "1–18 Nov 2026 UTC" in page
    assert "vs 1–18 Oct" in page


def test_cost_and_margin_leave_out_what_is_not_known_and_say_so(scene: Scene) -> None:
    now = live_home.overview(scene.tenant, NOW).now
    assert now.unknown_count == 1
    assert now.margin == now.revenue - now.cost
    page = sign_in(scene, Role.OWNER).get("/").content.decode()
    assert "1 events have no known cost" in page
    assert "at most" in page
    assert "unpriced-model" in page


def test_another_tenants_money_is_not_counted(scene: Scene) -> None:
    with as_web(tenant_id=scene.tenant.pk):
        before = figures.of_tenant(figures.month_to_date(NOW))
    make_scene()
    with as_web(tenant_id=scene.tenant.pk):
        assert figures.of_tenant(figures.month_to_date(NOW)) == before


def test_the_page_takes_a_fixed_number_of_statements(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    client.get("/")
    with CaptureQueriesContext(connection) as few:
        client.get("/")
    for _ in range(30):
        scene.store({"input_tokens": 10}, properties={"model": "gpt-4o"})
    pipeline.rate()
    with CaptureQueriesContext(connection) as many:
        client.get("/")
    assert len(many) == len(few)
    assert len(few) <= 30


def test_what_needs_somebody_is_listed_the_worst_first(scene: Scene) -> None:
    scene.store({"strange_units": 3})
    pipeline.rate()
    scene.store({"input_tokens": 1})
    CustomerBooks.objects.filter(customer=scene.customer).update(
        parked_at=NOW, parked_reason="The total is negative."
    )
    with clock.travel(NOW + dt.timedelta(minutes=5)):
        found = home.concerns(figures.month_to_date(clock.now()))
    titles = [c.title for c in found]
    assert titles == [
        f"Books of {scene.customer} are parked",
        "Events wait to be rated",
        "1 event without a price",
        "Costs are not known",
    ]
    assert [c.tone for c in found] == ["bad", "bad", "warn", "warn"]


def test_checks_a_minute_come_from_the_doors(scene: Scene) -> None:
    assert home.checks_per_minute(NOW) is None
    for minute in (1, 2):
        DoorCount.objects.create(
            tenant=scene.tenant,
            minute=NOW - dt.timedelta(minutes=minute),
            allowed=40,
            denied=10,
        )
    assert home.checks_per_minute(NOW) == 20


def test_how_calls_are_charged_is_measured(scene: Scene) -> None:
    sample = home.sample()
    assert sample.events == 26
    assert sample.dimensions == 3
    # Two calls without a request id, of 26.
    assert sample.attributed is not None
    assert Decimal("0.9") < sample.attributed < 1


def test_an_empty_tenant_is_shown_the_way(as_olga: Client, tenant: Tenant) -> None:
    page = as_olga.get("/").content.decode()
    assert "Set up, step by step" in page
    assert "/admin/catalog/product/add/" in page
    assert "No rated events yet" in page


def test_a_viewer_of_an_empty_tenant_gets_no_button_they_may_not_use(
    as_victor: Client,
) -> None:
    page = as_victor.get("/").content.decode()
    assert "Set up, step by step" in page
    assert "/add/" not in page


def test_a_developer_sees_the_own_page_and_a_stranger_none(scene: Scene) -> None:
    page = sign_in(scene, Role.DEVELOPER).get("/")
    assert page.status_code == 200
    assert "Your agents" in page.content.decode()
    assert "COGS" not in page.content.decode()
    assert Client().get("/").headers["Location"] == "/login?next=/"


def _heard(tenant: Tenant, kind: str) -> list[dict[str, Any]]:
    """Let the figures and rows be pushed to a page that listens, and return them."""
    layer = get_channel_layer()

    async def listen() -> str:
        name: str = await layer.new_channel()
        await layer.group_add(live.group(tenant.pk), name)
        return name

    async def hear(name: str) -> Any:
        return await layer.receive(name)

    name = async_to_sync(listen)()
    rows = home.feed()
    if kind == "feed":
        live_home._push_rows(tenant.pk, [row.event_id for row in rows])
    else:
        live_home.push_figures(tenant.pk)
    return [json.loads(async_to_sync(hear)(name)["text"])]


def test_open_pages_hear_of_new_rows_as_html(scene: Scene) -> None:
    (message,) = _heard(scene.tenant, "feed")
    assert message["kind"] == "feed"
    assert len(message["items"]) == home.FEED_ROWS
    assert message["items"][0]["feed"] == "usage"
    assert message["items"][0]["html"].startswith("<li data-id=")


def test_open_pages_hear_of_new_figures(scene: Scene) -> None:
    (message,) = _heard(scene.tenant, "kpi")
    assert message["kind"] == "kpi"
    assert "mtd.revenue" in message["values"]
    assert "<data" in message["values"]["mtd.margin"]


def test_names_are_escaped_before_they_are_pushed(scene: Scene) -> None:
    scene.customer.name = "<script>alert(1)</script>"
    scene.customer.save()
    (message,) = _heard(scene.tenant, "feed")
    assert "<script>" not in json.dumps(message)


def test_usage_is_worked_out_for_open_pages_only(scene: Scene) -> None:
    rated = [row.event_id for row in home.feed()]
    live_home.on_usage(tenant_id=scene.tenant.pk, event_ids=rated)
    assert cache.get(f"home-figures:{scene.tenant.pk.hex}") is None
    live.watch(scene.tenant.pk)
    live_home.on_usage(tenant_id=scene.tenant.pk, event_ids=rated)
    assert cache.get(f"home-figures:{scene.tenant.pk.hex}") == 1
