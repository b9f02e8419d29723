"""An agent that calls a tool three times as fast as usual is told, with its figures."""

from __future__ import annotations

import datetime as dt

import pytest

from aforo.core.models import Happening
from aforo.lib import clock
from guard import alert_rules
from metering import velocity
from metering.models import ToolPace
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db


def invoke(shop: Shop, calls: int) -> dt.datetime:
    """Store calls, and return the minute in which their ids were made."""
    before = clock.now().replace(second=0, microsecond=0)
    for _ in range(calls):
        store_event(
            shop,
            {"tool_calls": 1},
            event_type="mcp.tool_invoked",
            tool_name="transform_data",
        )
    return before


def usual(shop: Shop, minutes: int, calls: int) -> None:
    """Let the agent have a pace over the last days."""
    ToolPace.objects.create(
        tenant=shop.tenant,
        agent=shop.agent,
        tool_name="transform_data",
        hour=clock.now().replace(minute=0, second=0, microsecond=0)
        - dt.timedelta(days=2),
        active_minutes=minutes,
        invocations=minutes * calls,
        last_minute=clock.now() - dt.timedelta(days=2),
    )


@pytest.fixture(autouse=True)
def fresh() -> None:
    alert_rules.forget()


def both(minute: dt.datetime) -> int:
    """Count a minute and the next: the calls may have fallen into either."""
    return velocity.count(minute) + velocity.count(minute + velocity.MINUTE)


def test_three_times_the_usual_pace_is_told_in_words():
    shop = make_shop()
    usual(shop, 60, 4)
    assert both(invoke(shop, 26)) >= 1

    row = Happening.objects.order_by("pk").first()
    assert row is not None
    assert row.text.startswith("Writer is invoking transform_data at ")
    assert "(normal 4/min)" in row.text
    assert row.text.endswith("Investigate or pause?")
    assert row.scope == f"{shop.agent.public_id}/transform_data"


def test_less_than_that_and_too_short_a_past_are_not_told():
    shop, young = make_shop(), make_shop()
    usual(shop, 60, 10)
    usual(young, 59, 1)
    invoke(young, 20)
    both(invoke(shop, 20))

    assert not Happening.objects.exists()


def test_a_minute_is_counted_once():
    shop = make_shop()
    minute = invoke(shop, 5)
    for _ in range(2):
        velocity.count(minute)
    for _ in range(2):
        velocity.count(minute + velocity.MINUTE)

    assert sum(p.invocations for p in ToolPace.objects.all()) == 5


def test_one_that_stops_has_recovered():
    shop = make_shop()
    usual(shop, 60, 2)
    minute = invoke(shop, 30)
    both(minute)
    velocity.count(minute + 5 * velocity.MINUTE)

    severities = list(
        Happening.objects.order_by("pk").values_list("severity", flat=True)
    )
    assert severities[0] == "warn"
    assert severities[-1] == "ok"
    assert not Happening.objects.filter(resolved_at=None).exists()
