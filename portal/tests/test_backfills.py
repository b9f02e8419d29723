"""Backfills by staff: tried without a trace, confirmed by typing, stored once."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.html import strip_tags

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import invoicing
from billing.models import BillingPeriod, LedgerEntry
from metering import backfill_files, backfill_jobs, backfilling, pipeline, pool
from metering.background import background
from metering.models import Backfill, BackfillPart, UsageEvent
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, make_shop

PAGE = "/events/backfill"
transactional = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Close what the event loop holds, so that the database can be emptied."""
    yield
    background.run(pool.close())


@pytest.fixture
def shop() -> Shop:
    """A shop whose customer has had a contract for months."""
    return make_shop(since=clock.now() - dt.timedelta(days=200))


def event(shop: Shop, name: str, **more: Any) -> dict[str, Any]:
    """Return an event of 45 days ago."""
    return {
        "eventId": name,
        "eventType": "llm.completion",
        "customerId": shop.customer.external_id,
        "correlationId": "c",
        "timestamp": (clock.now() - dt.timedelta(days=45)).isoformat(),
        "measurements": [{"metricKey": "tool_calls", "value": 10}],
        **more,
    }


def lines(*events: Any) -> str:
    """Return events as NDJSON."""
    return "\n".join(json.dumps(one) for one in events)


def tried(client: Client, text: str) -> Any:
    """Have a text tried and return the page that says what it would do."""
    answer = client.post(PAGE, {"text": text, "reason": "the gateway was mute"})
    assert answer.status_code == 302, answer.context["form"].errors
    backfill_jobs.run()
    found = Backfill.objects.order_by("-pk")[0]
    assert found.failure == ""
    return client.get(answer["Location"])


@transactional
def test_a_trial_says_what_would_happen_and_leaves_nothing(shop: Shop) -> None:
    client = sign_in(shop, Role.OPERATIONS)
    first = event(shop, "a")
    text = lines(
        first,
        first,
        event(shop, "b", customerId="cust_nobody"),
        event(shop, "c", measurements=[{"metricKey": "unheard_of", "value": 1}]),
        event(shop, "d", timestamp="2019-01-01T00:00:00Z"),
    )
    page = tried(client, f"{text}\nnot json\n[1]\n")
    assert page.context["counts"] == {
        "accepted": 2,
        "duplicate": 1,
        "ignored": 0,
        "rejected": 2,
    }
    faults = {line: code for line, code, _ in page.context["faults"]}
    assert faults == {
        3: "not_found",
        5: "too_old",
        6: "invalid_json",
        7: "invalid_event",
    }
    assert [line for line, *_ in page.context["unpriced"]] == [4]
    (row,) = page.context["periods"]
    assert (row["amount"], row["events"]) == (Decimal("0.1"), 1)
    assert row["customer_id"] == shop.customer.public_id
    assert not row["is_adjustment"]
    assert not UsageEvent.objects.exists()
    assert not LedgerEntry.objects.exists()
    assert "Type 2 to go on" in page.content.decode()
    found = client.get(f"{PAGE}/{page.context['run'].public_id}.csv").content.decode()
    told = {row["line"]: row["status"] for row in csv.DictReader(io.StringIO(found))}
    assert told == {
        "3": "rejected",
        "4": "without_price",
        "5": "rejected",
        "6": "rejected",
        "7": "rejected",
    }


@transactional
def test_a_line_without_a_price_says_why_in_words_and_what_to_do(shop: Shop) -> None:
    client = sign_in(shop, Role.OPERATIONS)
    early = (clock.now() - dt.timedelta(days=250)).isoformat()
    ahead = (clock.now() + dt.timedelta(days=1)).isoformat()
    text = lines(event(shop, "a", timestamp=early), event(shop, "b", timestamp=ahead))
    page = tried(client, text)
    ((line, reason, detail),) = page.context["unpriced"]
    assert (line, reason) == (1, "No subscription at that time")
    assert detail.startswith("Give the customer a plan of this product")
    assert "no_subscription" not in page.content.decode()
    ((_, code, wrong),) = page.context["faults"]
    assert code == "timestamp_in_future"
    assert wrong.startswith("timestamp is over five minutes ahead")
    found = client.get(f"{PAGE}/{page.context['run'].public_id}.csv").content.decode()
    rows = {row["line"]: row for row in csv.DictReader(io.StringIO(found))}
    assert rows["1"]["code"] == "no_subscription"
    assert rows["1"]["detail"] == detail


@transactional
def test_what_is_confirmed_is_stored_once_and_comes_to_the_trials_money(
    shop: Shop,
) -> None:
    client = sign_in(shop, Role.OWNER)
    text = lines(*(event(shop, f"e{n}") for n in range(3)))
    page = tried(client, text)
    at = f"{PAGE}/{page.context['run'].public_id}"
    wrong = client.post(f"{at}/confirm", {"typed": "4"})
    assert wrong.status_code == 422
    assert "Type the number of events that will be stored: 3" in wrong.content.decode()
    assert client.post(f"{at}/confirm", {"typed": "3"}).status_code == 302
    again = client.post(f"{at}/confirm", {"typed": "3"})
    assert (again.status_code, UsageEvent.objects.count()) == (422, 0)
    backfill_jobs.run()
    pipeline.rate()
    run = Backfill.objects.get()
    assert run.result is not None
    assert (run.state, run.result["accepted"]) == ("done", 3)
    ((_, amount, _),) = page.context["totals"]
    assert sum(e.amount for e in LedgerEntry.objects.all()) == amount
    assert {tuple(e.flags) for e in UsageEvent.objects.all()} == {("backfilled",)}
    assert not any(part.lines for part in BackfillPart.objects.all())
    actions = AuditEntry.objects.filter(action__contains="backfill").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        "backfill.tried",
        "backfill.confirmed",
        "usage.backfilled",
    ]
    shown = client.get(at).content.decode()
    assert "3 events stored, 0 known before" in " ".join(strip_tags(shown).split())
    twice = tried(client, text)
    assert twice.context["counts"]["duplicate"] == 3
    assert twice.context["same"] == run
    nothing = client.post(f"{PAGE}/{twice.context['run'].public_id}/confirm", {})
    assert nothing.status_code == 422


@transactional
def test_a_period_with_an_invoice_gets_an_adjustment_on_the_next(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    ended = BillingPeriod.objects.filter(state="open", end_at__lte=clock.now())
    while period := ended.order_by("start_at").first():
        invoicing.close(period.pk, now=clock.now())
        invoicing.finalise(period.pk, now=clock.now(), without_grace=True)
    first = BillingPeriod.objects.filter(state="finalised").order_by("-start_at")[0]
    at = (first.start_at + dt.timedelta(days=1)).isoformat()
    page = tried(client, lines(event(shop, "late", timestamp=at)))
    (row,) = page.context["periods"]
    assert row["is_adjustment"]
    assert page.context["adjusted"] == 1
    assert "its invoice stays" in page.content.decode()
    money = client.get(f"{PAGE}/{page.context['run'].public_id}/money.csv")
    (told,) = csv.DictReader(io.StringIO(money.content.decode()))
    assert (told["is_adjustment"], Decimal(told["amount"])) == ("yes", Decimal("0.1"))


@transactional
def test_a_worker_that_dies_leaves_work_that_another_finishes(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)
    page = tried(client, lines(event(shop, "x")))
    run = page.context["run"]
    client.post(f"{PAGE}/{run.public_id}/confirm", {"typed": "1"})
    caller = backfill_jobs._caller(run)
    raws = [event for _, event in backfill_jobs._lines(BackfillPart.objects.get())]
    background.run(backfilling.keep(caller, raws))
    dead = clock.now() - backfill_jobs.STALE * 2
    Backfill.objects.update(state="storing", heartbeat_at=dead)
    assert backfill_jobs.waiting(clock.now())
    backfill_jobs.run()
    found = Backfill.objects.get()
    assert found.result is not None
    assert (found.state, found.result["duplicate"]) == ("done", 1)
    assert UsageEvent.objects.count() == 1
    assert not backfill_jobs.waiting(clock.now())


@transactional
def test_roles_tenants_and_discarding(shop: Shop) -> None:
    operator = sign_in(shop, Role.OPERATIONS)
    page = tried(operator, lines(event(shop, "x")))
    at = f"{PAGE}/{page.context['run'].public_id}"
    for role in (Role.VIEWER, Role.FINANCE, Role.PRODUCT_MANAGER):
        client = sign_in(shop, role)
        assert client.get(PAGE).status_code == 403
        assert "An owner or somebody of operations" in client.get(at).content.decode()
        assert client.post(f"{at}/confirm", {"typed": "1"}).status_code == 403
        assert client.post(f"{at}/discard").status_code == 403
        assert f'href="{PAGE}"' not in client.get("/events").content.decode()
    stranger = sign_in(make_shop(), Role.OWNER)
    for path in (at, f"{at}.csv", f"{at}/money.csv"):
        assert stranger.get(path).status_code == 404
    assert stranger.post(f"{at}/confirm", {"typed": "1"}).status_code == 404
    assert "No backfill yet" in stranger.get(PAGE).content.decode()
    assert f'href="{PAGE}"' in operator.get("/events").content.decode()
    assert operator.post(f"{at}/discard").status_code == 302
    assert Backfill.objects.get().state == "cancelled"
    assert BackfillPart.objects.get().lines == []
    assert operator.post(f"{at}/confirm", {"typed": "1"}).status_code == 422


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"reason": "x"}, "Choose a file, or paste its text"),
        ({"text": "{}"}, "This field is required"),
        ({"text": "a,b\n1,2", "reason": "x"}, "neither JSON nor CSV"),
        ({"text": "[1,", "reason": "x"}, "The array cannot be read"),
        ({"text": "{}\n" * 5_001, "reason": "x"}, "at most 5,000 at a time"),
    ],
)
def test_a_text_that_cannot_be_taken_is_refused(
    shop: Shop, form: dict[str, str], said: str
) -> None:
    answer = sign_in(shop, Role.OWNER).post(PAGE, form)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Backfill.objects.exists()


@pytest.mark.django_db
def test_a_file_is_taken_as_well_as_a_text_but_not_both(shop: Shop) -> None:
    client = sign_in(shop, Role.OWNER)

    def file() -> SimpleUploadedFile:
        return SimpleUploadedFile("old.ndjson", lines(event(shop, "x")).encode())

    both = {"file": file(), "text": "{}", "reason": "x"}
    assert "not both" in client.post(PAGE, both).content.decode()
    assert client.post(PAGE, {"file": file(), "reason": "x"}).status_code == 302
    assert Backfill.objects.get().name == "old.ndjson"
    waiting = client.get(f"{PAGE}/{Backfill.objects.get().public_id}")
    assert b"Waits for a worker" in waiting.content


def test_csv_becomes_events_with_the_numbers_of_their_lines() -> None:
    text = (
        "eventType,customerId,measurements.input_tokens,properties.model\r\n"
        "llm.completion,acme,12.50,gpt-4o\r\n"
        "\r\n"
        "llm.completion,acme,many,gpt-4o\r\n"
        "llm.completion,acme\r\n"
    )
    found = backfill_files.read(text.encode())
    ((line, made),) = found.events
    assert line == 2
    assert json.loads(made) == {
        "eventType": "llm.completion",
        "customerId": "acme",
        "measurements": [{"metricKey": "input_tokens", "value": 12.5}],
        "properties": {"model": "gpt-4o"},
    }
    assert [(line, code) for line, code, _ in found.unread] == [
        (4, "invalid_number"),
        (5, "invalid_row"),
    ]


def test_tool_events_get_the_same_ids_every_time_and_secrets_are_refused() -> None:
    text = lines({"tool_name": "a"}, {"tool_name": "a"}, {"api_key": "sk_live_x"})
    first, second = (backfill_files.read(text.encode()) for _ in range(2))
    names = [json.loads(made)["event_id"] for _, made in first.events]
    assert len(set(names)) == 2
    assert first == second
    assert first.unread[0][1] == "secret_in_file"


@pytest.mark.parametrize("data", [b"", b" \n ", b"\xff\xfe{", b"[]"])
def test_what_holds_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(AforoError):
        backfill_files.read(data)
