"""From the outbox to the topics, in the order of each customer's books."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import redis
from django.conf import settings
from django.db import transaction

from aforo.core.models import OutboxMessage
from aforo.lib import clock, sql
from aforo.lib.crash import crashpoint
from metering.signals import usage_published
from metering.topics import TOPICS, USAGE

_json = msgspec.json.Encoder().encode

TOPIC = TOPICS[USAGE].stream
BATCH = 200
EVENTS_MAX = 5_000  # In one batch, give or take the last message.
# One relay at a time: order is the point.
LOCK = 0x61666F726F01


@functools.cache
def streams() -> redis.Redis:
    """Return the client of the topics."""
    return redis.Redis.from_url(settings.TOPICS_REDIS_URL, socket_timeout=5)


def run() -> int:
    """Publish what is not published yet; return how many messages.

    At least once: a crash between publishing and marking publishes again, and
    consumers drop versions that they have seen.
    """
    done = 0
    while count := _publish():
        done += count
    return done


def _waiting() -> list[OutboxMessage]:
    """Return the oldest messages that are not published, as many as memory bears."""
    found = OutboxMessage.objects.filter(published_at=None).order_by("id")[:BATCH]
    messages: list[OutboxMessage] = []
    events = 0
    for message in found.iterator(chunk_size=10):
        messages.append(message)
        events += len(message.messages.get(USAGE, []))
        if events >= EVENTS_MAX:
            break
    return messages


def _add(pipe: redis.client.Pipeline, message: OutboxMessage) -> None:
    """Add a version's entries: one on each topic that it tells something on.

    The usage topic has an entry for every version, so that a gap is a gap.
    """
    for key, topic in TOPICS.items():
        items = message.messages.get(key, [])
        if not items and key != USAGE:
            continue
        fields: dict[Any, Any] = {
            "tenant": message.tenant_id.hex,
            "customer": message.customer_id.hex,
            "version": message.version,
            topic.member: _json(items),
        }
        if key == USAGE and "corrections" in message.messages:
            fields["corrections"] = _json(message.messages["corrections"])
        pipe.xadd(topic.stream, fields, maxlen=topic.length_max, approximate=True)


def _publish() -> int:
    """Publish one batch under the relay's lock."""
    with transaction.atomic():
        with sql.cursor() as cursor:
            row = cursor.execute(
                "SELECT pg_try_advisory_xact_lock(%b)", [LOCK]
            ).fetchone()
            if row is None or not row[0]:
                return 0
        messages = _waiting()
        if not messages:
            return 0
        pipe = streams().pipeline(transaction=False)
        # Entry by entry, so each topic has a customer's versions in their order.
        for message in messages:
            _add(pipe, message)
        pipe.execute()
        crashpoint("relay.published")
        OutboxMessage.objects.filter(pk__in=[m.pk for m in messages]).update(
            published_at=clock.now()
        )
    for message in messages:
        items = message.messages.get(USAGE, [])
        if items:
            usage_published.send(sender=None, tenant_id=message.tenant_id, items=items)
    return len(messages)
