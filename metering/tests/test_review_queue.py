"""The queue under faults: two workers, passing trouble, a neighbour's bad event."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pytest
from django.db import connection

from aforo.management.commands.verify import breaks
from billing.models import LedgerEntry
from metering import claims, pipeline, queue
from metering.models import PendingEvents, Session, Unrateable, UsageEvent
from tests.factories import Shop, make_shop, store_event

both = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def _other_session() -> psycopg.Connection[tuple[object, ...]]:
    """Return a connection of somebody else to the test's database."""
    known = connection.get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port")
    return psycopg.connect(**{k: known[k] for k in wanted if known.get(k)})


def _in_one_row(shop: Shop, *, attempts: int, count: int = 3) -> list[UsageEvent]:
    """Return events that wait in one row of the queue, tried so often before."""
    events = [store_event(shop, {"input_tokens": 1}) for _ in range(count)]
    mine = PendingEvents.objects.filter(customer_ids=[shop.customer.pk])
    row = mine.order_by("id")[0]
    mine.exclude(pk=row.pk).delete()
    PendingEvents.objects.filter(pk=row.pk).update(
        event_ids=[event.id for event in events], attempts=attempts
    )
    return events


def _clean() -> None:
    assert {code: found for code, found in breaks().items() if found} == {}


@both
@pytest.mark.parametrize("attempts", [claims.CAREFUL_FROM, claims.GIVE_UP_FROM])
def test_what_another_worker_rated_meanwhile_is_not_set_aside(attempts: int) -> None:
    shop = make_shop()
    _in_one_row(shop, attempts=attempts - 1)
    (claimed,) = claims.take()
    PendingEvents.objects.update(attempts=0)
    pipeline.rate()
    pipeline._rate_carefully(claimed)
    assert not Unrateable.objects.exists()
    assert LedgerEntry.objects.filter(event_id__isnull=False).count() == 3
    _clean()


@both
def test_a_row_that_gets_on_is_not_given_up() -> None:
    shop = make_shop()
    events = _in_one_row(shop, attempts=claims.GIVE_UP_FROM - 2)
    # The second event ends this worker once the first is rated.
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.halt() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'halt' USING ERRCODE = '57P01'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER halt BEFORE INSERT ON billing_ledgerentry FOR EACH ROW"
            f" WHEN (NEW.event_id = '{events[1].id}') EXECUTE FUNCTION pg_temp.halt()"
        )
    with pytest.raises(psycopg.OperationalError):
        pipeline.rate()
    row = PendingEvents.objects.get()
    assert row.event_ids == [event.id for event in events[1:]]
    assert row.attempts == claims.CAREFUL_FROM
    assert not Unrateable.objects.exists()


@committed
def test_a_lock_that_is_waited_for_too_long_sets_no_event_aside() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, session_key="s-1")
    pipeline.rate()
    session = Session.objects.get()
    store_event(shop, {"input_tokens": 1}, session_key="s-1")
    PendingEvents.objects.update(attempts=claims.CAREFUL_FROM - 1)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    try:
        with _other_session() as other:
            other.execute(
                "SELECT 1 FROM metering_session WHERE id = %s FOR UPDATE", [session.pk]
            )
            with pytest.raises(psycopg.OperationalError):
                pipeline.rate()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert not Unrateable.objects.exists()
    assert pipeline.rate() == 1
    _clean()


@both
def test_a_bad_event_of_one_customer_does_not_hold_up_another() -> None:
    shop, neighbour = make_shop(), make_shop()
    store_event(shop, {"input_tokens": "x"})
    good = store_event(neighbour, {"input_tokens": 1})
    pipeline.rate()
    assert LedgerEntry.objects.filter(event_id=good.id).exists()
    assert PendingEvents.objects.get().customer_ids == [shop.customer.pk]


def _shared_row(first: Shop, second: Shop) -> list[UsageEvent]:
    """Return an event of each of two customers that wait in one row."""
    events = [store_event(shop, {"input_tokens": 1}) for shop in (first, second)]
    row = PendingEvents.objects.order_by("id")[0]
    PendingEvents.objects.exclude(pk=row.pk).delete()
    PendingEvents.objects.update(
        event_ids=[event.id for event in events],
        customer_ids=[event.customer_id for event in events],
    )
    return events


@committed
def test_of_a_row_the_events_of_a_busy_customer_wait_and_the_others_do_not() -> None:
    busy, free = make_shop(), make_shop()
    held, rated = _shared_row(busy, free)
    with _other_session() as other:
        other.execute(
            "SELECT 1 FROM billing_customerbooks WHERE customer_id = %s FOR UPDATE",
            [busy.customer.pk],
        )
        assert pipeline.rate() == 1
        row = PendingEvents.objects.get()
        assert (row.event_ids, row.customer_ids) == ([held.id], [busy.customer.pk])
        assert row.attempts == 0
        assert LedgerEntry.objects.filter(event_id=rated.id).exists()
        assert not LedgerEntry.objects.filter(event_id=held.id).exists()
    assert pipeline.rate() == 1
    assert not PendingEvents.objects.exists()
    _clean()


@both
def test_two_workers_with_parts_of_one_row_leave_nothing_of_it() -> None:
    first, second = make_shop(), make_shop()
    one, two = _shared_row(first, second)
    row = PendingEvents.objects.get()
    for event in (one, two):
        queue.drop_part([row.pk], events=[event.id], customers=[event.customer_id])
    assert not PendingEvents.objects.exists()


@both
def test_a_bad_event_in_a_shared_row_is_set_aside_alone() -> None:
    shop, neighbour = make_shop(), make_shop()
    bad, good = _shared_row(shop, neighbour)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON billing_ledgerentry FOR EACH ROW"
            f" WHEN (NEW.event_id = '{bad.id}') EXECUTE FUNCTION pg_temp.refuse()"
        )
    for _ in range(claims.CAREFUL_FROM):
        pipeline.rate()
    assert Unrateable.objects.get().event_id == bad.id
    assert LedgerEntry.objects.filter(event_id=good.id).exists()
    assert not PendingEvents.objects.exists()


@both
@pytest.mark.parametrize("kept", [0, 1, 3])
def test_verify_finds_a_row_that_names_other_customers_than_its_events(
    kept: int,
) -> None:
    first, second, stranger = make_shop(), make_shop(), make_shop()
    _shared_row(first, second)
    assert not breaks()["I-19c"]
    named = [shop.customer.pk for shop in (first, second, stranger)][:kept]
    PendingEvents.objects.update(customer_ids=named)
    assert len(breaks()["I-19c"]) == 1


@both
def test_who_has_events_in_the_queue_is_told_by_customer() -> None:
    waiting, rated, late = make_shop(), make_shop(), make_shop()
    _shared_row(waiting, late)
    asked = [shop.customer.pk for shop in (waiting, rated)]
    now = PendingEvents.objects.get().received_at
    soon = now + dt.timedelta(seconds=1)
    assert queue.pending_before(asked, soon) == {waiting.customer.pk}
    assert queue.pending_before(asked, now) == set()


@committed
def test_a_long_queue_of_a_busy_customer_does_not_hide_the_others() -> None:
    busy, waiting = make_shop(), make_shop()
    store_event(busy, {"input_tokens": 1})
    PendingEvents.objects.update(
        event_ids=[uuid.uuid4() for _ in range(claims.EVENTS_MAX)]
    )
    event = store_event(waiting, {"input_tokens": 1})
    with _other_session() as other:
        other.execute(
            "SELECT 1 FROM billing_customerbooks WHERE customer_id = %s FOR UPDATE",
            [busy.customer.pk],
        )
        assert pipeline.rate() == 1
    assert LedgerEntry.objects.filter(event_id=event.id).exists()
