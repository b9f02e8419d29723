"""From the outbox to the topics, in the order of each customer's books."""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from typing import Any, NamedTuple

import msgspec
import redis
from django.conf import settings
from django.db import transaction

from aforo.lib import clock, sql
from aforo.lib.crash import crashpoint
from metering.signals import usage_published
from metering.topics import TOPICS, USAGE

TOPIC = TOPICS[USAGE].stream
# In one batch: so many messages and, but for the first, so many bytes of them.
BATCH = 200
BYTES_MAX = 4_000_000
# What is published stays for whoever looks into a fault; consumers have the topics.
KEPT = dt.timedelta(minutes=10)
PRUNED_MAX = 5_000
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


class Message(NamedTuple):
    """A row of the outbox that is not published."""

    id: int
    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    version: int
    messages: str


class Told(msgspec.Struct):
    """What the relay itself reads of an event's message."""

    id: uuid.UUID
    unrateable: str | None = None


WAITING = f"""
SELECT id, tenant_id, customer_id, version, messages FROM (
  SELECT *, sum(octet_length(messages)) OVER (ORDER BY id) - octet_length(messages)
    AS bytes_before
  FROM (SELECT * FROM core_outboxmessage WHERE published_at IS NULL
    ORDER BY id LIMIT {BATCH}) AS oldest
) AS measured
WHERE bytes_before < %b ORDER BY id
"""  # noqa: S608 - of our own number
PUBLISHED = "UPDATE core_outboxmessage SET published_at = %b WHERE id = ANY(%b)"

# By topic the array of messages, as it was written.
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_told = msgspec.json.Decoder(list[Told]).decode
NOTHING = msgspec.Raw(b"[]")


def _waiting() -> list[Message]:
    """Return the oldest messages that are not published, as many as memory bears."""
    with sql.cursor() as cursor:
        rows = cursor.execute(WAITING, [BYTES_MAX], binary=True).fetchall()
    return [Message(*row) for row in rows]


def _add(
    pipe: redis.client.Pipeline, message: Message, parts: dict[str, msgspec.Raw]
) -> None:
    """Add a version's entries: one on each topic that it tells something on.

    The usage topic has an entry for every version, so that a gap is a gap.
    """
    for key, topic in TOPICS.items():
        if key not in parts and key != USAGE:
            continue
        fields: dict[Any, Any] = {
            "tenant": message.tenant_id.hex,
            "customer": message.customer_id.hex,
            "version": message.version,
            topic.member: bytes(parts.get(key, NOTHING)),
        }
        if key == USAGE and "corrections" in parts:
            fields["corrections"] = bytes(parts["corrections"])
        pipe.xadd(topic.stream, fields, maxlen=topic.length_max, approximate=True)


def _publish() -> int:
    """Publish one batch under the relay's lock."""
    with transaction.atomic(), sql.cursor() as cursor:
        row = cursor.execute("SELECT pg_try_advisory_xact_lock(%b)", [LOCK]).fetchone()
        if row is None or not row[0]:
            return 0
        waiting = _waiting()
        if not waiting:
            return 0
        opened = [(message, _parts(message.messages)) for message in waiting]
        pipe = streams().pipeline(transaction=False)
        # Entry by entry, so each topic has a customer's versions in their order.
        for message, parts in opened:
            _add(pipe, message, parts)
        pipe.execute()
        crashpoint("relay.published")
        cursor.execute(PUBLISHED, [clock.now(), [m.id for m in waiting]])
    rated: dict[uuid.UUID, list[uuid.UUID]] = {}
    for message, parts in opened:
        if items := _told(parts.get(USAGE, NOTHING)):
            mine = rated.setdefault(message.tenant_id, [])
            mine += [item.id for item in items if not item.unrateable]
    for tenant_id, event_ids in rated.items():
        usage_published.send(sender=None, tenant_id=tenant_id, event_ids=event_ids)
    return len(waiting)


PRUNE = """
DELETE FROM core_outboxmessage WHERE id IN (
  SELECT o.id FROM core_outboxmessage o
  JOIN billing_customerbooks b ON b.customer_id = o.customer_id
  WHERE o.published_at < %b AND o.version <= b.projected_version
  ORDER BY o.id LIMIT %b)
"""


def prune(now: dt.datetime) -> int:
    """Delete what was published long ago and is at the edge; return how many rows.

    The edge reads what is settled from the outbox, so a version that it does not know
    stays for as long as the edge is away.
    """
    done = 0
    while True:
        with sql.cursor() as cursor:
            count = cursor.execute(PRUNE, [now - KEPT, PRUNED_MAX]).rowcount
        done += count
        if count < PRUNED_MAX:
            return done
