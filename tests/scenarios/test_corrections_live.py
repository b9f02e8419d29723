"""Corrections by API on a running instance, whose web server is no owner of the tables.

In one process the tests own every row; here row-level security decides what a request
sees, so a door that forgets to say for whom it speaks finds nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from aforo.lib import clock
from tests.scenarios import stage as scene
from tests.scenarios.stage import PRICE, Shop, Stage, once, until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
SCOPES = ["ingest", "corrections", "backfill"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened(*[{"scopes": SCOPES}] * 3) as running:
        yield running


def stored(stage: Stage, shop: Shop, name: str) -> str:
    """Store an event, wait until it is rated, and return our id of it."""
    told = stage.post_until_stored(shop, [shop.event(name)])
    until(lambda: stage.effects(shop) == once(1), "it is rated")
    return str(told.json["items"][0]["id"])


def spend(stage: Stage, shop: Shop) -> object:
    """Return what the books have of the customer's usage."""
    [(amount,)] = stage.rows(
        "SELECT sum(amount) FROM billing_ledgerentry WHERE customer_id = %s"
        " AND event_id IS NOT NULL",
        shop.customer_id,
    )
    return amount


def test_an_event_is_voided_once(stage: Stage):
    shop = stage.shop()
    path = f"/v1/events/{stored(stage, shop, 'one')}/void"

    done = stage.call(path, shop.service_secret, {"reason": "sent twice"})
    again = stage.call(path, shop.service_secret, {"reason": "sent twice"})

    assert (done.status, done.json["status"]) == (200, "voided")
    assert (again.status, again.json["status"]) == (200, "already_voided")
    other = stage.shops[-1].service_secret
    assert stage.call(path, other, {"reason": "not mine"}).status == 404
    stage.verify()


def test_an_event_is_amended(stage: Stage):
    shop = stage.shop()
    path = f"/v1/events/{stored(stage, shop, 'one')}/amend"
    event = shop.event("right")
    event["measurements"] = [{"metricKey": "input_tokens", "value": 2_000_000}]

    done = stage.call(path, shop.service_secret, {"reason": "two", "event": event})

    assert (done.status, done.json["status"]) == (200, "amended"), done
    assert done.json["event"]["amount"] == "6"
    stage.verify()


def test_old_usage_is_backfilled_and_its_refusals_are_told(stage: Stage):
    shop = stage.shops[-1]
    at = (clock.now() - dt.timedelta(days=40)).isoformat()
    ancient = (clock.now() - dt.timedelta(days=500)).isoformat()
    body = {
        "reason": "found in a log",
        "events": [
            shop.event("old", timestamp=at),
            shop.event("ancient", timestamp=ancient),
        ],
    }

    done = stage.call("/v1/events/backfill", shop.service_secret, body)

    assert done.status == 200, done
    assert done.verdicts == ["accepted", "rejected"]
    stage.drain()
    [(told,)] = stage.rows(
        "SELECT count(*) FROM core_auditentry WHERE action = 'usage.backfilled'"
        " AND tenant_id = %s",
        shop.tenant_id,
    )
    assert told == 1
    assert spend(stage, shop) == PRICE
    stage.verify()
