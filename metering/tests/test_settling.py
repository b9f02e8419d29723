"""Plans that look at sessions, from stored events to the books and the invoice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing import subscriptions
from billing.models import GroupTotal, LedgerEntry, UsageTotal
from metering import pipeline, sessions, settling
from metering.models import Session
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db


def body(**price: Any) -> dict[str, Any]:
    """Return a plan of one charge by dimensions."""
    charge = {"key": "use", "name": "Calls", "price": {"model": "dimensions", **price}}
    return {"currency": "USD", "charges": [charge]}


PENALTY = body(
    tool_invocations={"transform_schema": "0.10", "*": "0.002"},
    error_rate_penalties={"threshold": "0.05", "multiplier": "1.5"},
)


def call(shop: Shop, session: str, status: str = "SUCCESS", **more: Any) -> None:
    """Store a call of a tool."""
    tool = more.pop("tool", "transform_schema")
    store_event(
        shop,
        {"tool_calls": 1},
        event_type="mcp.tool_invoked",
        properties={"tool": tool, "status": status},
        session_key=session,
        tool_name=tool,
        status=status,
        **more,
    )


def end(shop: Shop, session: str) -> None:
    """Store the end of a session."""
    store_event(shop, {}, event_type="session.completed", session_key=session)


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def spend(shop: Shop) -> Decimal:
    """Return what the counter row says."""
    return UsageTotal.objects.get(subscription=shop.subscription).spend


def test_errors_of_a_session_are_priced_once_when_it_has_ended() -> None:
    shop = make_shop(body=PENALTY)
    for number in range(20):
        call(shop, "s", "FAILED" if number < 2 else "SUCCESS")
    call(shop, "calm")
    pipeline.rate()
    assert settling.settle() == 0
    assert spend(shop) == Decimal("2.1")
    end(shop, "s")
    pipeline.rate()
    assert settling.settle() == 1
    assert settling.settle() == 0
    assert spend(shop) == Decimal("3.1")
    entry = LedgerEntry.objects.get(kind=LedgerEntry.Kind.REPRICE)
    assert entry.amount == Decimal("1")
    assert entry.session_id == Session.objects.get(key="s").id
    assert entry.agent == shop.agent
    assert Session.objects.get(key="s").price == Decimal("3")
    assert_clean()


def test_an_expired_session_is_settled_and_a_late_event_follows_it() -> None:
    shop = make_shop(body=PENALTY)
    call(shop, "s")
    pipeline.rate()
    for hours in (2, 4):  # Idle first, then expired.
        sessions.expire(clock.now() + dt.timedelta(hours=hours))
    assert settling.settle() == 1
    assert not LedgerEntry.objects.filter(kind=LedgerEntry.Kind.REPRICE).exists()
    call(shop, "s", "TIMEOUT")
    pipeline.rate()
    assert spend(shop) == Decimal("0.3")
    assert_clean()


def test_sessions_of_a_paused_contract_wait_until_it_goes_on() -> None:
    shop = make_shop(body=PENALTY)
    call(shop, "s", "FAILED")
    pipeline.rate()
    end(shop, "s")
    pipeline.rate()
    subscriptions.pause(subscription=shop.subscription, actor=shop.owner)
    assert settling.settle() == 0
    subscriptions.resume(subscription=shop.subscription, actor=shop.owner)
    assert settling.settle() == 1
    assert spend(shop) == Decimal("0.15")
    assert_clean()


def test_a_customer_that_cannot_be_settled_does_not_keep_the_others() -> None:
    broken, shop = make_shop(body=PENALTY), make_shop(body=PENALTY)
    for one in (broken, shop):
        call(one, "s", "FAILED")
        end(one, "s")
    pipeline.rate()
    GroupTotal.objects.filter(customer=broken.customer).update(state={"odd": True})
    assert settling.settle() == 1
    assert spend(shop) == Decimal("0.15")
    assert spend(broken) == Decimal("0.1")


def test_a_session_of_two_charges_is_settled_in_two_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first,) = PENALTY["charges"]
    second = {**first, "key": "odd", "filter": {"tool": "odd"}}
    shop = make_shop(body={"currency": "USD", "charges": [first, second]})
    call(shop, "s", "FAILED")
    call(shop, "s", "FAILED", tool="odd")
    end(shop, "s")
    pipeline.rate()
    limit = f"LIMIT {settling.SESSIONS_MAX}"
    assert limit in settling.SESSIONS
    one = settling.SESSIONS.replace(limit, "LIMIT 1")
    monkeypatch.setattr(settling, "SESSIONS", one)
    assert [settling.settle() for _ in range(3)] == [1, 1, 0]
    assert spend(shop) == Decimal("0.102") * Decimal("1.5")
    assert_clean()


def test_a_session_fee_is_due_once_and_covers_calls_across_batches() -> None:
    shop = make_shop(
        body=body(
            base_session_fee="5",
            included_tool_count=2,
            tool_invocations={"*": "0.05"},
        )
    )
    for _ in range(3):
        call(shop, "s")
        pipeline.rate()
    assert spend(shop) == Decimal("5.05")
    call(shop, "t")
    pipeline.rate()
    assert spend(shop) == Decimal("10.05")
    assert GroupTotal.objects.count() == 2
    # The counter row does not grow with the number of sessions.
    assert set(UsageTotal.objects.get().state) == {"use"}
    end(shop, "s")
    pipeline.rate()
    settling.settle()
    assert spend(shop) == Decimal("10.05")
    assert_clean()


def test_sessions_of_plans_that_do_not_look_at_them_leave_no_row() -> None:
    shop = make_shop(body=body(tool_invocations={"*": "0.05"}))
    call(shop, "s")
    pipeline.rate()
    assert spend(shop) == Decimal("0.05")
    assert not GroupTotal.objects.exists()
    assert_clean()


def test_an_outcome_is_booked_with_the_event_that_completes_it() -> None:
    outcome = {
        "all": [
            {"event_type": "doc.parsed"},
            {"event_type": "llm.completion", "at_least": 2},
        ]
    }
    price = {"model": "per_unit", "unit_amount": "0.85"}
    charge = {
        "key": "review",
        "name": "Contract reviewed",
        "price": {
            "model": "compound",
            "outcome": outcome,
            "price": price,
            "absorbs": ["input_tokens"],
        },
    }
    shop = make_shop(body={"currency": "USD", "charges": [charge]})
    for kind in ("doc.parsed", "llm.completion", "llm.completion", "llm.completion"):
        store_event(
            shop, {"input_tokens": 100}, event_type=kind, correlation_id="contract-1"
        )
        pipeline.rate()
    store_event(shop, {}, event_type="doc.parsed", correlation_id="contract-2")
    pipeline.rate()
    assert spend(shop) == Decimal("0.85")
    entries = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.USAGE).order_by("id")
    assert [entry.amount for entry in entries] == [0, 0, Decimal("0.85"), 0, 0]
    assert GroupTotal.objects.count() == 2
    # Outcomes wait for no session's end.
    assert not GroupTotal.objects.filter(settled_at=None).exists()
    assert_clean()
