"""The laws of edge state: what Redis holds is what Postgres says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import redis

from aforo.lib import clock
from aforo.lib.invariants import Invariant
from billing.models import CustomerBooks
from guard import facts, projection, stores
from guard.engine import keys

# The sweep projects what is behind every five seconds.
PATIENCE = dt.timedelta(seconds=60)


def edge_equals_record() -> Iterator[str]:
    """Return customers whose edge state is ahead of the record, differs or lags.

    A customer that is not at the edge is cold: it is projected before it is judged.
    """
    client = stores.for_projection()
    limit = clock.now() - PATIENCE
    late = set(
        CustomerBooks.objects.filter(changed_at__lt=limit).values_list(
            "customer_id", flat=True
        )
    )
    for group in projection.all_customers():
        for customer in facts.read(group, config=False):
            try:
                told: dict[bytes, bytes] = client.hgetall(  # type: ignore[assignment]
                    keys.totals_key(customer.tag)
                )
            except redis.RedisError as error:
                yield f"Redis cannot be asked: {type(error).__name__}"
                return
            if not told:
                continue
            version = int(told.pop(b"v", b"-1"))
            edge = {name.decode(): value for name, value in told.items()}
            if version > customer.version:
                yield f"customer {customer.id}: edge v{version} of {customer.version}"
            elif version == customer.version and edge != customer.totals:
                yield f"customer {customer.id}: totals at the edge differ"
            elif version < customer.version and customer.id in late:
                yield f"customer {customer.id}: edge v{version} of {customer.version}"


INVARIANTS = [
    Invariant("I-30", "The edge holds what the record says", edge_equals_record)
]
