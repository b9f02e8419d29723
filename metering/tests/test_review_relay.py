"""The relay after a standstill: a long outbox goes out in bearable pieces."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from aforo.core.models import OutboxMessage
from aforo.lib import clock, ids
from billing.models import CustomerBooks
from metering import relay
from tests.factories import Shop, make_shop

pytestmark = pytest.mark.django_db


def _waits(shop: Shop, version: int, events: int) -> None:
    OutboxMessage.objects.create(
        tenant_id=shop.tenant.pk,
        customer_id=shop.customer.pk,
        version=version,
        created_at=clock.now(),
        messages=json.dumps({"usage": [{"id": ids.new_id().hex}] * events}),
    )


def test_big_messages_are_taken_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop()
    OutboxMessage.objects.update(published_at=clock.now())
    for version in range(100, 106):
        _waits(shop, version, 100)
    monkeypatch.setattr(relay, "BYTES_MAX", 7_500)
    oldest = relay._waiting()
    assert [message.version for message in oldest] == [100, 101]


def test_what_is_published_and_at_the_edge_is_pruned_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "PRUNED_MAX", 1)
    shop = make_shop()
    OutboxMessage.objects.all().delete()
    now = clock.now()
    for version in range(100, 105):
        _waits(shop, version, 1)
    CustomerBooks.objects.filter(customer=shop.customer).update(projected_version=103)
    old = OutboxMessage.objects.filter(version__in=[100, 101, 104])
    old.update(published_at=now - relay.KEPT - dt.timedelta(seconds=1))
    OutboxMessage.objects.filter(version=102).update(published_at=now)
    assert relay.prune(now) == 2
    left = OutboxMessage.objects.order_by("version").values_list("version", flat=True)
    # Just published, not published, and not at the edge.
    assert list(left) == [102, 103, 104]
