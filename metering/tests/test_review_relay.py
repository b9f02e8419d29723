"""The relay after a standstill: a long outbox goes out in bearable pieces."""

from __future__ import annotations

import json

import pytest

from aforo.core.models import OutboxMessage
from aforo.lib import clock, ids
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
