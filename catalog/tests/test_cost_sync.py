"""The public price list is followed: rises at once, large falls when approved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pytest
from genai_prices import data_snapshot, types

from aforo.core.models import AuditEntry, Tenant
from aforo.lib import clock
from aforo.lib.errors import AforoError
from catalog import costs
from catalog.cost_library import faults, model
from catalog.cost_sync import Report, decide, sync
from catalog.models import CostChange, CostRate
from tests.factories import make_user

pytestmark = pytest.mark.django_db

NAME = ("openai", "gpt-4o")


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(name="Acme")


@pytest.fixture(autouse=True)
def bundled() -> Iterator[None]:
    """Leave the bundled list as it is."""
    yield
    data_snapshot.set_custom_snapshot(None)


def listed(*prices: types.ConditionalPrice) -> None:
    """Make the list say that gpt-4o has these prices."""
    info = types.ModelInfo(
        id="gpt-4o", match=types.ClauseEquals("gpt-4o"), prices=list(prices)
    )
    provider = types.Provider(
        id="openai", name="OpenAI", api_pattern="openai", models=[info]
    )
    data_snapshot.set_custom_snapshot(
        data_snapshot.DataSnapshot(providers=[provider], from_auto_update=False)
    )


def price(output: str, since: dt.date | None = None) -> types.ConditionalPrice:
    limit = types.StartDateConstraint(since) if since else None
    prices = types.ModelPrice(output_mtok=Decimal(output))
    return types.ConditionalPrice(limit, prices=prices)


def first_sync() -> None:
    listed(price("10"))
    assert sync().added == 1


def cost(tenant: Tenant, at: dt.datetime | None = None) -> Decimal | None:
    """Return what a million tokens cost."""
    return (
        costs.load([tenant.pk])[tenant.pk]
        .cost(
            event_type="llm.completion",
            model="gpt-4o",
            tool="",
            measurements={"output_tokens": Decimal(1_000_000)},
            at=at or clock.now(),
        )
        .amount
    )


def counts(report: Report) -> tuple[int, int, int]:
    return report.added, len(report.applied), len(report.waiting)


def test_the_whole_bundled_list_is_taken_over_once() -> None:
    report = sync()
    assert report.added > 7_000
    assert report.faults["context_since"] > 100
    assert report.faults["context_partial"] > 0
    assert report.faults["no_weekdays"] > 0
    assert CostRate.objects.count() == report.added
    assert counts(sync()) == (0, 0, 0)


def test_a_dry_run_tells_and_writes_nothing(acme) -> None:
    listed(price("10"))
    assert counts(sync(dry_run=True)) == (1, 0, 0)
    assert not CostRate.objects.exists()
    first_sync()
    listed(price("1"))
    assert counts(sync(dry_run=True)) == (0, 0, 1)
    assert not CostChange.objects.exists()


def test_a_rise_of_any_size_applies_at_once_and_is_told(acme) -> None:
    first_sync()
    before = clock.now()
    listed(price("100"))
    assert counts(sync()) == (0, 1, 0)
    assert cost(acme) == Decimal(100)
    assert cost(acme, before) == Decimal(10)
    change = CostChange.objects.get()
    assert (change.state, change.ratio, change.tenant) == ("applied", Decimal(9), None)
    assert counts(sync()) == (0, 0, 0)


def test_a_rise_with_a_date_applies_from_it(acme) -> None:
    first_sync()
    day = (clock.now() - dt.timedelta(days=10)).date()
    listed(price("10"), price("12", day))
    report = sync()
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    assert report.backdated_from == midnight
    assert cost(acme, midnight - dt.timedelta(seconds=1)) == Decimal(10)
    assert cost(acme, midnight) == Decimal(12)


def test_an_announced_price_waits_for_its_day(acme) -> None:
    first_sync()
    day = (clock.now() + dt.timedelta(days=10)).date()
    listed(price("10"), price("12", day))
    sync()
    assert cost(acme) == Decimal(10)
    assert cost(acme, clock.now() + dt.timedelta(days=11)) == Decimal(12)


def test_a_fall_of_a_fifth_applies_and_one_of_more_waits_for_approval(acme) -> None:
    first_sync()
    listed(price("8"))
    assert counts(sync()) == (0, 1, 0)
    listed(price("6.39"))
    assert counts(sync()) == (0, 0, 1)
    assert cost(acme) == Decimal(8)
    sync()  # Asking every day does not ask twice.
    change = CostChange.objects.get(tenant=acme)
    assert change.is_pending
    decide(change=change, approve=True, actor=make_user())
    assert cost(acme) == Decimal("6.39")
    other = Tenant.objects.create(name="Other")
    assert cost(other) == Decimal(8)
    assert AuditEntry.objects.filter(action="cost_change.approved").count() == 1
    with pytest.raises(AforoError, match="approved already"):
        decide(change=change, approve=False, actor=make_user())
    # A later rise is followed as ever.
    listed(price("9"))
    sync()
    assert cost(acme) == cost(other) == Decimal(9)


def test_a_rejected_fall_is_not_asked_about_again(acme) -> None:
    first_sync()
    listed(price("1"))
    sync()
    decide(change=CostChange.objects.get(), approve=False, actor=make_user())
    sync()
    assert CostChange.objects.count() == 1
    assert cost(acme) == Decimal(10)


def test_what_is_no_longer_listed_stays_known(acme) -> None:
    first_sync()
    data_snapshot.set_custom_snapshot(None)
    listed(types.ConditionalPrice(prices=types.ModelPrice(input_mtok=Decimal(1))))
    report = sync()
    assert [key.unit for *_, key in report.vanished] == ["output_tokens"]
    assert cost(acme) == Decimal(10)


def test_known_faults_of_the_list_are_found() -> None:
    found = faults(model("openai", "gpt-4o"))
    texts = [f"{fault.kind}: {fault.detail}" for fault in found]
    since = "processing=batch before 2026-10-14 has the full price in the list"
    assert f"context_since: {since}" in texts
    assert "context_partial: processing=batch has no cache_read_mtok" in texts
    assert "no_weekdays" in {f.kind for f in faults(model("deepseek", "deepseek-chat"))}
