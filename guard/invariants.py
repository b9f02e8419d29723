"""The laws of edge state: what Redis holds is what Postgres says."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

import redis

from aforo.lib import clock, ids, sql
from aforo.lib.invariants import Invariant
from billing.models import Customer, CustomerBooks
from guard import facts, projection, stores
from guard.engine import keys

# The sweep projects what is behind every five seconds.
PATIENCE = dt.timedelta(seconds=60)


def _at_the_edge(
    client: redis.Redis, customer_ids: list[uuid.UUID]
) -> dict[str, dict[bytes, bytes]]:
    """Return the totals that the edge has, by the customer's tag."""
    tags = Customer.objects.filter(id__in=customer_ids).values_list("tag", flat=True)
    return {tag: client.hgetall(keys.totals_key(tag)) for tag in tags}  # type: ignore[misc]


def edge_equals_record() -> Iterator[str]:
    """Return customers whose edge state is ahead of the record, differs or lags.

    The edge is read first: usage that comes meanwhile can only put the record ahead,
    and only a customer that the same state of the record calls unchanged is late. One
    that is not at the edge is cold: it is projected before it is judged.
    """
    client = stores.for_projection()
    limit = clock.now() - PATIENCE
    for group in projection.all_customers():
        try:
            told_of = _at_the_edge(client, group)
        except redis.RedisError as error:
            yield f"Redis cannot be asked: {type(error).__name__}"
            return
        with sql.snapshot():
            found = facts.read(group, config=False)
            late = set(
                CustomerBooks.objects.filter(
                    customer_id__in=group, changed_at__lt=limit
                ).values_list("customer_id", flat=True)
            )
        for customer in found:
            name = ids.public("cus", customer.id)
            told = told_of.get(customer.tag)
            if not told:
                continue
            version = int(told.pop(b"v", b"-1"))
            edge = {member.decode(): value for member, value in told.items()}
            if version > customer.version:
                yield f"customer {name}: edge v{version} of {customer.version}"
            elif version == customer.version and edge != customer.totals:
                yield f"customer {name}: totals at the edge differ"
            elif version < customer.version and customer.id in late:
                yield f"customer {name}: edge v{version} of {customer.version}"


INVARIANTS = [
    Invariant(
        "I-30", "The edge holds what the record says", edge_equals_record, live=True
    )
]
