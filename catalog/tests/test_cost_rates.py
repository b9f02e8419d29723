"""Cost rates: bitemporal, repeatable, from the price list or by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry, Tenant
from aforo.lib.errors import AforoError
from catalog import costs
from catalog.cost_rates import add_rate, close_rate, import_library
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
    # Three kinds of tokens and two of searches; tokens with priority, fast, in batch.
    assert import_library([("openai", "gpt-4o")], JANUARY) == 5 + 3 + 3 + 2
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
    made = import_library([("openai", "gpt-4o-mini")], JANUARY)
    assert import_library([("openai", "gpt-4o-mini")], FEBRUARY) == 0
    assert CostRate.objects.count() == made


def test_a_model_that_is_not_listed_is_refused(acme):
    with pytest.raises(AforoError, match="no model gpt-0"):
        import_library([("openai", "gpt-0")], JANUARY)


def test_a_price_that_depends_on_the_hour_is_taken_over_with_its_hours(acme):
    import_library([("deepseek", "deepseek-chat")], JANUARY)
    rates = CostRate.objects.filter(unit="output_tokens").order_by("hours")
    assert [(r.hours, r.amount) for r in rates] == [
        ("", Decimal("0.00000055")),
        ("00:30-16:30", Decimal("0.0000011")),
    ]


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


def test_a_closed_rate_counts_up_to_its_end_and_is_kept_as_it_was_known(acme):
    rate = tool_rate(acme, "0.004", JANUARY)
    left = close_rate(rate=rate, at=FEBRUARY, actor=None)
    assert left is not None
    assert cost_at(acme, FEBRUARY - dt.timedelta(seconds=1)) == Decimal("0.004")
    assert cost_at(acme, FEBRUARY) is None
    rate.refresh_from_db()
    assert (rate.valid_to, rate.superseded_at is None) == (None, False)
    assert AuditEntry.objects.filter(action="cost_rate.closed").count() == 1


def test_a_rate_closed_at_its_start_never_was(acme):
    rate = tool_rate(acme, "0.004", JANUARY)
    assert close_rate(rate=rate, at=JANUARY, actor=None) is None
    assert cost_at(acme, FEBRUARY) is None


def test_what_cannot_be_closed_is_refused(acme):
    import_library([("openai", "gpt-4o-mini")], JANUARY)
    with pytest.raises(AforoError, match="price list's"):
        close_rate(rate=CostRate.objects.all()[0], at=FEBRUARY, actor=None)
    rate = tool_rate(acme, "0.004", FEBRUARY)
    with pytest.raises(AforoError, match="inside the time"):
        close_rate(rate=rate, at=JANUARY, actor=None)
    close_rate(rate=rate, at=MARCH, actor=None)
    with pytest.raises(AforoError, match="changed meanwhile"):
        close_rate(rate=rate, at=MARCH, actor=None)


def test_a_rate_with_an_end_lets_the_other_one_go_on_after_it(acme):
    tool_rate(acme, "0.004", JANUARY)
    add_rate(
        tenant=acme,
        provider="tool",
        model="search",
        unit="tool.call",
        amount=Decimal("0.001"),
        currency="USD",
        valid_from=FEBRUARY,
        valid_to=MARCH,
        actor=None,
    )
    at = [FEBRUARY - dt.timedelta(seconds=1), FEBRUARY, MARCH]
    assert [cost_at(acme, a) for a in at] == [
        Decimal("0.004"),
        Decimal("0.001"),
        Decimal("0.004"),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hours", "25:00-26:00"),
        ("hours", "monday 01:00-02:00"),
        ("context", "no way!"),
        ("unit", "Input Tokens"),
        ("per", 0),
        ("model", " "),
        ("amount", Decimal("NaN")),
        ("amount", Decimal("-1")),
        ("valid_to", JANUARY),
    ],
)
def test_a_rate_that_would_never_be_found_is_refused_at_its_field(acme, field, value):
    given = {
        "tenant": acme,
        "provider": "tool",
        "model": "search",
        "unit": "tool.call",
        "amount": Decimal(1),
        "currency": "USD",
        "valid_from": JANUARY,
        "actor": None,
    }
    with pytest.raises(AforoError) as caught:
        add_rate(**{**given, field: value})
    assert caught.value.field == field
    assert not CostRate.objects.exists()
