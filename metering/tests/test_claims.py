"""Which queue rows a worker takes: whole customers, and none that another has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from metering import claims
from metering.models import PendingEvents
from tests.factories import Shop, make_shop

both = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def wait(shop: Shop, *sizes: int) -> None:
    """Put rows of so many events each on a customer's queue."""
    for size in sizes:
        PendingEvents.objects.create(
            tenant=shop.tenant,
            customer=shop.customer,
            event_ids=[uuid.uuid4() for _ in range(size)],
            received_at=shop.customer.created_at,
        )


def taken(*, without: tuple[Shop, ...] = ()) -> dict[uuid.UUID, int]:
    """Return how many rows a claim takes, by customer."""
    found: dict[uuid.UUID, int] = {}
    for claim in claims.take(None, without=[s.customer.pk for s in without]):
        found[claim.customer_id] = found.get(claim.customer_id, 0) + 1
    return found


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
def test_many_small_customers_share_a_claim() -> None:
    shops = [make_shop() for _ in range(3)]
    for shop in shops:
        wait(shop, 1, 2)
    assert taken() == {shop.customer.pk: 2 for shop in shops}
    assert set(PendingEvents.objects.values_list("attempts", flat=True)) == {1}


@both
def test_a_hot_customer_fills_a_claim_and_leaves_the_others_free() -> None:
    hot, second = make_shop(), make_shop()
    # In turn, as they come in.
    for _ in range(4):
        wait(hot, claims.EVENTS_MAX // 2)
        wait(second, claims.EVENTS_MAX // 2)
    assert taken() == {hot.customer.pk: 2}


@committed
def test_of_a_long_queue_few_customers_are_taken_deep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "EVENTS_MAX", 20)
    count = claims.ROWS_MAX // 16
    shops = [make_shop() for _ in range(2)]
    for _ in range(8 * count):  # In turn, one event at a time.
        for shop in shops:
            wait(shop, 1)
    first, second = (shop.customer.pk for shop in shops)
    assert taken() == {first: 20}
    with held(shops[0]):
        assert taken() == {second: 20}


@both
def test_a_row_bigger_than_a_claim_is_taken_alone() -> None:
    shop = make_shop()
    wait(shop, claims.EVENTS_MAX + 1, 1)
    assert taken() == {shop.customer.pk: 1}


@committed
def test_a_second_worker_takes_other_customers() -> None:
    hot, second = make_shop(), make_shop()
    for _ in range(3):
        wait(hot, claims.EVENTS_MAX)
        wait(second, claims.EVENTS_MAX)
    with held(hot):
        assert taken() == {second.customer.pk: 1}
    with held(hot, second):
        assert taken() == {}
    assert taken(without=(hot,)) == {second.customer.pk: 1}
    assert taken(without=(hot, second)) == {}


@both
def test_nothing_waits_and_nothing_is_taken() -> None:
    make_shop()
    assert taken() == {}
