"""Corrections and ends of sessions by API: who may, what is answered, what happens."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core import service_keys
from aforo.core.models import AuditEntry
from aforo.lib import clock, ids
from aforo.management.commands.verify import breaks
from billing.models import LedgerEntry, UsageTotal
from metering import pipeline
from metering.background import background
from metering.models import EventVoid, Session, Unrateable, UsageEvent
from metering.pool import close
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _closed() -> Any:
    """Close the ingest loop's connections, so that the tables can be emptied."""
    yield
    background.run(close())


def shop_with_key() -> tuple[Shop, str]:
    """Return a shop and a key that may correct and backfill."""
    shop = make_shop()
    _, secret = service_keys.issue(
        tenant=shop.tenant,
        name="Finance",
        scopes=["ingest", "corrections", "backfill"],
        actor=None,
    )
    return shop, secret


def post(path: str, secret: str, body: Any, **headers: str) -> Any:
    """Send JSON with a service key."""
    return Client().post(
        path,
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", **headers},
    )


def path_of(event: UsageEvent, act: str) -> str:
    """Return the address that corrects an event."""
    return f"/v1/events/{ids.public('evt', event.pk)}/{act}"


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def test_a_void_is_answered_done_once_and_known_again() -> None:
    shop, secret = shop_with_key()
    event = store_event(shop, {"input_tokens": 100}, event_id="call-7")
    pipeline.rate()
    path = path_of(event, "void")
    assert post(path, shop.service_secret, {"reason": "x"}).status_code == 403
    assert post(path, secret, {}).json()["code"] == "reason_required"
    once = {"Idempotency-Key": "k1"}
    first = post(path, secret, {"reason": "sent twice"}, **once)
    assert first.status_code == 200, first.content
    told = first.json()
    assert (told["status"], told["was"], told["event_id"]) == (
        "voided",
        "rated",
        "call-7",
    )
    assert Decimal(told["amount"]) < 0
    again = post(path, secret, {"reason": "sent twice"}, **once)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == told
    assert post(path, secret, {"reason": "other"}).json()["status"] == "already_voided"
    assert AuditEntry.objects.filter(action="event.voided").count() == 1
    _, theirs = shop_with_key()
    assert post(path, theirs, {"reason": "x"}).status_code == 404
    assert_clean()
    # The id is used for ever: sent again the event stays void.
    body = {
        "eventId": "call-7",
        "eventType": "llm.completion",
        "customerId": shop.customer.external_id,
        "correlationId": "c",
        "measurements": [{"metricKey": "input_tokens", "value": 100}],
    }
    assert post("/v1/events", secret, body).status_code in (200, 422)
    pipeline.rate()
    assert UsageEvent.objects.filter(tenant=shop.tenant).count() == 1


def test_an_amendment_stands_in_the_place_of_the_event() -> None:
    shop, secret = shop_with_key()
    event = store_event(shop, {"input_tokens": 1000}, event_id="call-7")
    pipeline.rate()
    body = {
        "eventType": "llm.completion",
        "customerId": shop.customer.external_id,
        "agentId": ids.public("agt", shop.agent.pk),
        "correlationId": "c",
        "measurements": [{"metricKey": "input_tokens", "value": 10}],
    }
    path = path_of(event, "amend")
    reply = post(path, secret, {"reason": "a digit too many", "event": body})
    assert reply.status_code == 200, reply.content
    told = reply.json()
    assert (told["status"], told["event"]["event_id"]) == ("amended", "call-7~2")
    total = UsageTotal.objects.get(subscription=shop.subscription)
    assert (total.event_count, total.token_count) == (1, 10)
    again = post(path, secret, {"reason": "again", "event": body})
    assert again.json()["code"] == "already_voided"
    new = EventVoid.objects.get().replaced_by
    assert new is not None
    # A correction can be corrected.
    reply = post(path_of(new, "amend"), secret, {"reason": "still", "event": body})
    assert reply.json()["event"]["event_id"] == "call-7~3"
    bad = post(path_of(event, "amend"), secret, {"reason": "x", "event": {"a": 1}})
    assert bad.status_code == 400
    assert_clean()


def test_old_usage_comes_in_by_the_backfill_alone() -> None:
    shop, secret = shop_with_key()
    event = {
        "eventId": "old-1",
        "eventType": "llm.completion",
        "customerId": shop.customer.external_id,
        "correlationId": "c",
        "timestamp": (clock.now() - dt.timedelta(days=45)).isoformat(),
        "measurements": [{"metricKey": "input_tokens", "value": 10}],
    }
    assert post("/v1/events", secret, event).json()["code"] == "too_old"
    body = {"reason": "the gateway was mute in spring", "events": [event]}
    assert post("/v1/events/backfill", shop.service_secret, body).status_code == 403
    reply = post("/v1/events/backfill", secret, body)
    assert (reply.status_code, reply.json()["accepted"]) == (200, 1), reply.content
    assert post("/v1/events/backfill", secret, body).json()["duplicates"] == 1
    pipeline.rate()
    assert not Unrateable.objects.exists()
    assert "backfilled" in UsageEvent.objects.get().flags
    assert LedgerEntry.objects.filter(event_id=UsageEvent.objects.get().pk).exists()
    assert AuditEntry.objects.filter(action="usage.backfilled").exists()
    event["timestamp"] = (clock.now() - dt.timedelta(days=500)).isoformat()
    event["eventId"] = "old-2"
    reply = post("/v1/events/backfill", secret, {"reason": "x", "events": [event]})
    assert reply.json()["items"][0]["code"] == "too_old"


def test_a_session_is_ended_once() -> None:
    shop, secret = shop_with_key()
    store_event(shop, {"input_tokens": 1}, session_key="s")
    pipeline.rate()
    session = Session.objects.get()
    path = f"/v1/sessions/{session.public_id}/end"
    assert post(path, secret, {"state": "odd"}).json()["code"] == "invalid_state"
    reply = post(path, secret, {"state": "failed", "reason": "gave up"})
    assert (reply.status_code, reply.json()["status"]) == (200, "ended"), reply.content
    assert post(path, secret, {}).json()["status"] == "already_ended"
    session.refresh_from_db()
    assert (session.state, session.ended_at is None) == ("failed", False)
    store_event(shop, {"input_tokens": 1}, session_key="s")
    pipeline.rate()
    session.refresh_from_db()
    assert (session.state, session.event_count) == ("failed", 2)
    assert_clean()
