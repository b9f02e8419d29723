"""Cost rates: bitemporal, repeatable, from the price list or by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry, Tenant
from aforo.lib.errors import AforoError
from catalog import costs
from catalog.cost_rates import add_rate, import_library
from catalog.models import CostRate

pytestmark = pytest.mark.django_db

JANUARY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FEBRUARY = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
MARCH = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(name="Acme")


def tool_rate(tenant: Tenant, amount: str, at: dt.datetime) -> CostRate:
    return add_rate(
        tenant=tenant,
        provider="tool",
        model="search",
        unit="tool.call",
        amount=Decimal(amount),
        currency="USD",
        valid_from=at,
        actor=None,
    )


def cost_at(tenant: Tenant, at: dt.datetime) -> Decimal | None:
    book = costs.load([tenant.pk])[tenant.pk]
    return book.cost(
        event_type="mcp.tool_invoked", model="", tool="search", measurements={}, at=at
    ).amount


def test_a_library_price_per_million_becomes_a_cost_per_token(acme):
    assert import_library([("openai", "gpt-4o")], JANUARY) == 3
    found = costs.load([acme.pk])[acme.pk].cost(
        event_type="llm.completion",
        model="gpt-4o",
        tool="",
        measurements={
            "input_tokens": Decimal(3_000_000),
            "cache_read_tokens": Decimal(1_000_000),
            "output_tokens": Decimal(500_000),
        },
        at=FEBRUARY,
    )
    # 2M at $2.50, 1M cached at $1.25, 0.5M out at $10.00.
    assert found.amount == Decimal("11.25")
    assert found.provider == "openai"


def test_importing_twice_adds_nothing(acme):
    import_library([("openai", "gpt-4o-mini")], JANUARY)
    assert import_library([("openai", "gpt-4o-mini")], FEBRUARY) == 0
    assert CostRate.objects.count() == 3


def test_a_model_that_is_not_listed_is_refused(acme):
    with pytest.raises(AforoError, match="no model gpt-0"):
        import_library([("openai", "gpt-0")], JANUARY)


def test_a_price_that_depends_on_the_hour_is_refused(acme):
    with pytest.raises(AforoError, match="not one rate"):
        import_library([("deepseek", "deepseek-chat")], JANUARY)


def test_a_change_counts_from_its_instant_and_not_before(acme):
    tool_rate(acme, "0.004", JANUARY)
    tool_rate(acme, "0.006", FEBRUARY)
    assert cost_at(acme, FEBRUARY - dt.timedelta(seconds=1)) == Decimal("0.004")
    assert cost_at(acme, FEBRUARY) == Decimal("0.006")


def test_a_change_is_kept_beside_what_was_known_before(acme):
    first = tool_rate(acme, "0.004", JANUARY)
    tool_rate(acme, "0.006", FEBRUARY)
    first.refresh_from_db()
    assert first.superseded_at is not None
    assert first.valid_to is None
    known_now = CostRate.objects.filter(superseded_at__isnull=True)
    assert [(r.valid_from, r.valid_to) for r in known_now.order_by("valid_from")] == [
        (JANUARY, FEBRUARY),
        (FEBRUARY, None),
    ]


def test_a_rate_entered_for_the_past_ends_where_the_next_one_begins(acme):
    tool_rate(acme, "0.004", JANUARY)
    tool_rate(acme, "0.008", MARCH)
    tool_rate(acme, "0.006", FEBRUARY)
    assert cost_at(acme, MARCH) == Decimal("0.008")
    assert cost_at(acme, FEBRUARY) == Decimal("0.006")


def test_repeating_a_rate_writes_neither_row_nor_audit(acme):
    tool_rate(acme, "0.004", JANUARY)
    tool_rate(acme, "0.004", FEBRUARY)
    assert CostRate.objects.count() == 1
    assert AuditEntry.objects.filter(action="cost_rate.changed").count() == 1


def test_an_amount_that_would_lose_digits_is_refused(acme):
    with pytest.raises(AforoError, match="12 decimal places"):
        tool_rate(acme, "0.0000000000001", JANUARY)
