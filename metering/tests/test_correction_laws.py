"""The law of corrections through the real database, on random histories."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing.models import LedgerEntry, UsageTotal
from metering import pipeline, settling, voiding
from metering.models import EventVoid, Session, UsageEvent, UsageRollup
from metering.sessions import ERRORS
from tests.factories import add_cost, make_shop, store_event

# A history takes a second: a tenth of what the laws of pure pricing try.
EXAMPLES = max(20, settings().max_examples // 10)
BODY: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "tokens",
            "name": "Tokens",
            "metric": "input_tokens",
            "price": {
                "model": "graduated",
                "tiers": [
                    {"up_to": "20", "unit_amount": "1"},
                    {"up_to": None, "unit_amount": "0.25", "flat_amount": "3"},
                ],
            },
        },
        {
            "key": "out",
            "name": "Output",
            "metric": "output_tokens",
            "price": {
                "model": "volume",
                "tiers": [
                    {"up_to": "15", "unit_amount": "2"},
                    {"up_to": None, "unit_amount": "0.5"},
                ],
            },
        },
        {
            "key": "tools",
            "name": "Tools",
            "price": {
                "model": "dimensions",
                "base_session_fee": "5",
                "included_tool_count": 2,
                "tool_invocations": {"search": "0.4", "*": "0.1"},
                "error_rate_penalties": {"threshold": "0.3", "multiplier": "2"},
            },
        },
    ],
}
MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("use"), st.integers(0, 30), st.integers(0, 20), st.integers(0, 2)
        ),
        st.tuples(st.just("call"), st.booleans(), st.booleans(), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.just("rate")),
        st.tuples(st.just("void"), st.integers(0, 40)),
    ),
    min_size=3,
    max_size=14,
)


def shadow(events: list[UsageEvent]) -> dict[str, Fraction]:
    """Price the events that are left by hand, from what the plan says in words."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    tokens = sum(int(e.body["measurements"].get("input_tokens", 0)) for e in events)
    total["tokens"] = Fraction(min(tokens, 20))
    if tokens > 20:
        total["tokens"] += 3 + Fraction(tokens - 20, 4)
    out = sum(int(e.body["measurements"].get("output_tokens", 0)) for e in events)
    total["out"] = Fraction(out * 2) if out <= 15 else Fraction(out, 2)
    return total


def counters(events: list[UsageEvent]) -> tuple[int, int, int, int]:
    """Return events, errors and tokens of events that are left."""
    return (
        len(events),
        sum(e.status in ERRORS for e in events),
        sum(int(e.body["measurements"].get("input_tokens", 0)) for e in events),
        sum(int(e.body["measurements"].get("output_tokens", 0)) for e in events),
    )


def check() -> None:
    """Compare books and sums with the events that are left."""
    void = set(EventVoid.objects.values_list("event_id", flat=True))
    left = [e for e in UsageEvent.objects.order_by("id") if e.pk not in void]
    booked: dict[str, Decimal] = defaultdict(Decimal)
    for entry in LedgerEntry.objects.exclude(kind=LedgerEntry.Kind.RECURRING):
        for key, amount in zip(entry.charge_keys, entry.amounts, strict=True):
            booked[key] += amount
    expected = shadow(left)
    for key in ("tokens", "out"):
        assert Fraction(booked[key]) == expected[key]
    assert counters(left) == tuple(
        sum(getattr(r, name) for r in UsageRollup.objects.all())
        for name in ("event_count", "error_count", "input_tokens", "output_tokens")
    )
    revenue = sum((r.revenue for r in UsageRollup.objects.all()), Decimal(0))
    of_events = LedgerEntry.objects.exclude(event_id=None)
    assert revenue == sum((e.amount for e in of_events), Decimal(0))
    for session in Session.objects.all():
        own = [e for e in left if e.session_key == session.key]
        assert counters(own) == (
            session.event_count,
            session.error_count,
            session.input_tokens,
            session.output_tokens,
        )
        if own:
            times = [e.occurred_at for e in own]
            assert (session.started_at, session.last_event_at) == (
                min(times),
                max(times),
            )
    spent = sum((t.spend for t in UsageTotal.objects.all()), Decimal(0))
    assert spent == sum(booked.values(), Decimal(0))
    # Rating again prices the sessions too, fees, included calls and penalties.
    assert {code: found for code, found in breaks().items() if found} == {}


@given(moves=MOVES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.django_db
def test_any_history_of_usage_and_voids_equals_the_events_that_are_left(
    db: None, moves: list[Any]
) -> None:
    with transaction.atomic():
        shop = make_shop(body=BODY)
        add_cost(shop.tenant, model="m", unit="input_uncached_tokens", amount="0.01")
        now = clock.now()
        stored: list[UsageEvent] = []
        for number, (kind, *values) in enumerate(moves):
            at = now - dt.timedelta(minutes=(number * 7) % 90)
            if kind == "use":
                measured = {"input_tokens": values[0], "output_tokens": values[1]}
                stored.append(
                    store_event(
                        shop,
                        measured,
                        at=at,
                        properties={"model": "m"},
                        session_key=f"s{values[2]}",
                    )
                )
            elif kind == "call":
                status = "FAILED" if values[0] else "SUCCESS"
                tool = "search" if values[1] else "read"
                stored.append(
                    store_event(
                        shop,
                        {"tool_calls": 1},
                        at=at,
                        event_type="mcp.tool_invoked",
                        properties={"tool": tool, "status": status},
                        tool_name=tool,
                        status=status,
                        session_key=f"s{values[2]}",
                    )
                )
            elif kind == "end":
                stored.append(
                    store_event(
                        shop,
                        {},
                        at=at,
                        event_type="session.completed",
                        session_key=f"s{values[0]}",
                    )
                )
            elif kind == "rate":
                pipeline.rate()
                settling.settle()
            elif stored:
                event = stored[values[0] % len(stored)]
                voiding.void(event, reason="wrong")
                books = LedgerEntry.objects.count()
                assert not voiding.void(event, reason="wrong").is_new
                assert LedgerEntry.objects.count() == books
        pipeline.rate()
        settling.settle()
        check()
        transaction.set_rollback(True)
