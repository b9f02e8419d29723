"""Which queue rows a worker takes: whole customers, and none that another has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from metering import claims, queue
from metering.models import PendingEvents
from tests.factories import Shop, make_shop

both = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def shops_of(*shards: int) -> list[Shop]:
    """Return shops whose customers are in these shards."""
    found: list[Shop] = []
    for shard in shards:
        while queue.shard_of((shop := make_shop()).customer.pk) != shard:
            pass
        found.append(shop)
    return found


def wait(*shops: Shop, size: int, attempts: int = 0) -> uuid.UUID:
    """Put a row of so many events of customers of one shard on the queue."""
    (shard,) = {queue.shard_of(shop.customer.pk) for shop in shops}
    row = PendingEvents.objects.create(
        tenant=shops[0].tenant,
        shard=shard,
        customer_ids=[shop.customer.pk for shop in shops],
        event_ids=[uuid.uuid4() for _ in range(size)],
        received_at=shops[0].customer.created_at,
        attempts=attempts,
    )
    return row.pk


def taken(*, without: tuple[Shop, ...] = ()) -> list[uuid.UUID]:
    """Return the rows that a claim takes."""
    return [claim.id for claim in claims.take(without=[s.customer.pk for s in without])]


@contextmanager
def held(*shops: Shop) -> Iterator[None]:
    """Hold customers' books as another worker does."""
    known = connection.get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{k: known[k] for k in wanted if known.get(k)}) as other:
        other.execute(
            "SELECT FROM billing_customerbooks WHERE customer_id = ANY(%s) FOR UPDATE",
            [[shop.customer.pk for shop in shops]],
        )
        yield
        other.rollback()


@both
def test_a_short_queue_is_one_claim() -> None:
    first, second = shops_of(0, 1)
    rows = [wait(first, size=2), wait(second, size=1), wait(first, size=3)]
    assert taken() == rows
    assert set(PendingEvents.objects.values_list("attempts", flat=True)) == {1}


@committed
def test_of_a_long_queue_each_worker_has_a_shard_of_its_own() -> None:
    first, second = shops_of(0, 1)
    size = claims.EVENTS_MAX // 2
    rows = [wait(shop, size=size) for _ in range(3) for shop in (first, second)]
    assert taken() == rows[0:4:2]
    with held(first):
        assert taken() == rows[1:5:2]
    with held(first, second):
        assert taken() == []
    assert taken(without=(first,)) == rows[1:5:2]
    assert taken(without=(first, second)) == []


@both
def test_a_row_bigger_than_a_claim_is_taken_alone() -> None:
    (shop,) = shops_of(0)
    rows = [wait(shop, size=claims.EVENTS_MAX + 1), wait(shop, size=1)]
    assert taken() == rows[:1]


@committed
def test_a_busy_customer_hides_no_other_of_its_row() -> None:
    busy, free = shops_of(3, 3)
    rows = [wait(busy, size=1), wait(busy, free, size=2), wait(busy, size=1)]
    with held(busy):
        assert taken() == [rows[1]]
        assert taken(without=(free,)) == []


@committed
def test_a_long_queue_of_a_busy_customer_hides_no_other_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "EVENTS_MAX", 2)
    busy, free = shops_of(3, 3)
    for _ in range(4):
        wait(busy, size=1)
    row = wait(free, size=1)
    with held(busy):
        assert taken() == [row]


@both
def test_a_row_that_was_tried_again_and_again_is_taken_alone() -> None:
    """Should its worker end once more, no other row is blamed."""
    (shop,) = shops_of(0)
    suspect = wait(shop, size=1, attempts=claims.CAREFUL_FROM - 1)
    rows = [wait(shop, size=1), wait(shop, size=1, attempts=1)]
    assert taken() == [suspect]
    PendingEvents.objects.filter(pk=suspect).delete()
    late = wait(shop, size=1, attempts=claims.CAREFUL_FROM)
    assert taken() == rows
    assert PendingEvents.objects.get(pk=late).attempts == claims.CAREFUL_FROM


@both
def test_nothing_waits_and_nothing_is_taken() -> None:
    make_shop()
    assert taken() == []
