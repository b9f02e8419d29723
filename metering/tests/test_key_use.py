"""When service keys were last used: every door notes it, none waits for it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator

import pytest
from django.test import Client

from aforo.core import key_use
from aforo.core.models import ServiceKey
from aforo.core.tenancy import as_web
from aforo.lib import clock
from metering import directory, ingest, pool
from metering.background import background
from tests.factories import Shop, make_shop

NOON = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _nothing_noted() -> Iterator[None]:
    """Keys of one test are not those of another."""
    key_use.forget()
    yield
    key_use.forget()


def last_used(shop: Shop) -> dt.datetime | None:
    """Return what is noted of the shop's key."""
    return ServiceKey.objects.get(pk=shop.service_key.pk).last_used_at


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("later", "noted"),
    [(-MINUTE, NOON), (MINUTE / 2, NOON), (MINUTE, NOON + MINUTE)],
)
def test_a_use_is_noted_once_a_minute(later: dt.timedelta, noted: dt.datetime) -> None:
    shop = make_shop()
    with as_web(tenant_id=shop.tenant.pk):
        key_use.note_used({shop.service_key.pk: NOON})
        assert last_used(shop) == NOON
        key_use.note_used({shop.service_key.pk: NOON + later})
    assert last_used(shop) == noted


@pytest.mark.django_db
def test_the_web_role_notes_no_key_of_another_tenant() -> None:
    mine, theirs = make_shop(), make_shop()
    with as_web(tenant_id=mine.tenant.pk):
        key_use.note_used({mine.service_key.pk: NOON, theirs.service_key.pk: NOON})
    assert (last_used(mine), last_used(theirs)) == (NOON, None)


@pytest.mark.django_db
def test_a_process_asks_for_one_note_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("aforo.core.key_use.time.monotonic", lambda: now[0])
    key = make_shop().service_key.pk
    due = []
    for now[0] in (0.0, 1.0, 59.9, 60.0, 61.0, 120.0):
        due.append(key_use.is_due(key))
    assert due == [True, False, False, True, False, True]


def call(shop: Shop) -> int:
    """Ask for the products as the tenant's backend; return the status."""
    given = {"Authorization": f"Bearer {shop.service_secret}"}
    return Client().get("/v1/simulate/none", headers=given).status_code


@pytest.mark.django_db(transaction=True)
def test_the_doors_of_the_backend_note_it_after_the_commit() -> None:
    shop = make_shop()
    with clock.travel(NOON):
        assert call(shop) == 404
    noted = last_used(shop)
    assert noted is not None
    assert NOON <= noted < NOON + MINUTE
    with clock.travel(NOON + MINUTE):
        call(shop)  # This process noted it a moment ago.
    assert last_used(shop) == noted


@pytest.mark.django_db(transaction=True)
def test_the_door_of_events_notes_it_beside_the_request() -> None:
    directory.forget()
    shop = make_shop()
    body = json.dumps(
        {
            "eventId": "e-1",
            "eventType": "llm.completion",
            "customerId": shop.customer.external_id,
            "correlationId": "c-1",
            "measurements": [{"metricKey": "input_tokens", "value": 10}],
        }
    ).encode()
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {shop.service_secret}",
    }

    async def send() -> int:
        answer = await ingest.answer(headers=headers, query="", body=body)
        await asyncio.gather(*ingest._notes)
        await pool.close()
        return answer.status

    assert background.run(send()) in (200, 202)
    noted = last_used(shop)
    assert noted is not None
    assert abs(clock.now() - noted) < MINUTE
    assert not ingest._notes
