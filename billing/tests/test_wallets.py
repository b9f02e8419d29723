"""Wallets: burnt in order, never below the overdraft, given back in reverse."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.models import AppendOnlyError
from billing import books, periods, wallets
from billing.models import CreditGrant, Wallet, WalletEntry
from billing.tests.cast import DAY, OCTOBER, Cast, make_cast

pytestmark = pytest.mark.django_db
PROMO, PAID = CreditGrant.Kind.PROMOTIONAL, CreditGrant.Kind.PURCHASED


def give(cast: Cast, amount: str, *, title: str = "Credit", **more) -> CreditGrant:
    """Grant credit to the cast's customer."""
    return wallets.grant(
        customer=cast.customer,
        currency="USD",
        amount=Decimal(amount),
        kind=more.pop("kind", PAID),
        title=title,
        actor=cast.owner,
        **more,
    )


def burn(cast: Cast, amount: str, *, at=OCTOBER) -> Decimal:
    """Burn an amount of usage in October."""
    with books.transaction(cast.customer.pk) as posting:
        period = periods.period_at(cast.customer.pk, at)
        return wallets.burn(
            posting=posting,
            currency="USD",
            amount=Decimal(amount),
            title=f"Usage −{amount}",
            billing_period_id=period.pk,
        )


def wallet_of(cast: Cast) -> Wallet:
    """Return the wallet as it is stored, and check its laws."""
    wallet = Wallet.objects.get(customer=cast.customer, currency="USD")
    entries = sum(e.amount for e in wallet.entries.all())
    left = sum(g.remaining for g in wallet.grants.all())
    assert wallet.balance == entries
    assert wallet.balance >= -wallet.overdraft_limit
    assert left - wallet.balance <= wallet.overdraft_limit
    return wallet


def left(cast: Cast) -> dict[str, Decimal]:
    """Return what is left of each lot by title."""
    wallet_of(cast)
    return {g.title: g.remaining for g in CreditGrant.objects.all()}


def test_a_grant_makes_the_wallet_and_says_who_and_why():
    cast = make_cast()
    give(cast, "50", title="Welcome", reason="pilot")
    entry = WalletEntry.objects.get()
    assert (entry.title, entry.balance_after, entry.reason) == (
        "Welcome +50",
        Decimal(50),
        "pilot",
    )
    assert entry.actor_label == str(cast.owner)
    assert AuditEntry.objects.get(action="wallet.credit_granted").reason == "pilot"


def test_usage_burns_by_priority_then_expiry_then_age():
    cast = make_cast()
    now = clock.now()
    give(cast, "10", title="older, never expires")
    give(cast, "10", title="younger, never expires")
    give(cast, "10", title="expires late", expires_at=now + DAY * 9)
    give(cast, "10", title="expires soon", expires_at=now + DAY)
    give(cast, "10", title="first by priority", priority=1)
    order = []
    for _ in range(5):
        before = left(cast)
        assert burn(cast, "10") == 10
        order += [title for title, rest in left(cast).items() if rest < before[title]]
    assert order == [
        "first by priority",
        "expires soon",
        "expires late",
        "older, never expires",
        "younger, never expires",
    ]


def test_what_the_wallet_cannot_cover_is_left_to_the_invoice():
    cast = make_cast()
    give(cast, "5")
    assert burn(cast, "7.5") == 5
    assert burn(cast, "1") == 0
    assert wallet_of(cast).balance == 0


def test_without_a_wallet_nothing_is_covered():
    assert burn(make_cast(), "5") == 0


def test_an_overdraft_reaches_to_its_limit_and_is_repaid_by_the_next_top_up():
    cast = make_cast()
    give(cast, "5")
    wallets.set_overdraft(
        customer=cast.customer, currency="USD", limit=Decimal(10), actor=cast.owner
    )
    assert burn(cast, "20") == 15
    assert wallet_of(cast).balance == -10
    give(cast, "25", title="Top-up")
    assert wallet_of(cast).balance == 15
    assert left(cast)["Top-up"] == 15


def test_an_overdraft_in_use_cannot_be_taken_away():
    cast = make_cast()
    wallets.set_overdraft(
        customer=cast.customer, currency="USD", limit=Decimal(10), actor=None
    )
    burn(cast, "6")
    with pytest.raises(AforoError, match="invalid_amount"):
        wallets.set_overdraft(
            customer=cast.customer, currency="USD", limit=Decimal(5), actor=None
        )


def test_a_negative_amount_goes_back_to_the_newest_burns():
    cast = make_cast()
    give(cast, "10", title="one")
    give(cast, "10", title="two")
    burn(cast, "8")
    burn(cast, "8")
    assert left(cast) == {"one": 0, "two": 4}
    assert burn(cast, "-7") == -7
    assert left(cast) == {"one": 1, "two": 10}
    assert burn(cast, "-9") == -9
    assert left(cast) == {"one": 10, "two": 10}


def test_no_more_goes_back_than_was_burnt_in_the_period():
    cast = make_cast()
    give(cast, "10")
    burn(cast, "4", at=OCTOBER - DAY)
    burn(cast, "3")
    assert burn(cast, "-5") == -3
    assert wallet_of(cast).balance == 6


def test_returns_take_the_same_burn_only_once():
    cast = make_cast()
    give(cast, "10")
    burn(cast, "5")
    assert burn(cast, "-2") == -2
    burn(cast, "3")
    assert burn(cast, "-4") == -4
    assert burn(cast, "-9") == -2
    assert wallet_of(cast).balance == 10


def test_expired_credit_is_never_spent_and_written_off_once():
    cast = make_cast()
    soon = clock.now() + DAY
    give(cast, "10", title="short", expires_at=soon)
    give(cast, "10", title="long")
    with clock.travel(soon):
        assert burn(cast, "4") == 4
        assert wallets.expire_grants(soon) == 0
    assert left(cast) == {"short": 0, "long": 6}
    assert WalletEntry.objects.filter(kind="expiry").count() == 1


def test_the_clock_expires_credit_that_nobody_touches():
    cast = make_cast()
    soon = clock.now() + DAY
    give(cast, "10", expires_at=soon)
    assert wallets.expire_grants(soon) == 1
    assert wallets.expire_grants(soon) == 0
    assert wallet_of(cast).balance == 0


def test_what_comes_back_to_an_expired_lot_expires_at_once():
    cast = make_cast()
    soon = clock.now() + DAY
    give(cast, "10", title="short", expires_at=soon)
    burn(cast, "4")
    with clock.travel(soon):
        assert burn(cast, "-3") == -3
    assert wallet_of(cast).balance == 0
    expiries = WalletEntry.objects.filter(kind="expiry").order_by("id")
    assert [e.amount for e in expiries] == [-6, -3]


@pytest.mark.parametrize(
    ("_case", "amount", "code"),
    [
        ("nothing", Decimal(0), "invalid_amount"),
        ("negative", Decimal(-1), "invalid_amount"),
        ("not a number", Decimal("NaN"), "invalid_amount"),
        ("infinite", Decimal("Infinity"), "invalid_amount"),
        ("too much", Decimal("9000000001"), "invalid_amount"),
        ("too precise", Decimal("0.0000000000001"), "too_precise"),
    ],
)
def test_amounts_that_are_no_credit_are_refused(_case, amount, code):
    cast = make_cast()
    with pytest.raises(AforoError, match=code):
        wallets.top_up(
            customer=cast.customer, currency="USD", amount=amount, actor=None
        )


def test_entries_are_never_changed():
    cast = make_cast()
    give(cast, "10")
    entry = WalletEntry.objects.get()
    entry.title = "nothing"
    with pytest.raises(AppendOnlyError):
        entry.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        connection.cursor().execute("UPDATE billing_walletentry SET amount = 1")


@pytest.mark.django_db(transaction=True)
def test_threads_never_spend_more_than_there_is():
    cast = make_cast()
    give(cast, "20")
    covered: list[Decimal] = []

    def spend() -> None:
        covered.extend(burn(cast, "1") for _ in range(5))
        connections.close_all()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(covered), sum(covered)) == (40, 20)
    assert wallet_of(cast).balance == 0


moves = st.lists(
    st.tuples(
        st.sampled_from(["grant", "burn", "return", "later"]),
        st.decimals(min_value="0.01", max_value="20", places=2),
    ),
    max_size=14,
)


@given(moves=moves, overdraft=st.integers(0, 15))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_history_keeps_the_laws_of_wallets(db, moves, overdraft):
    with transaction.atomic():
        cast = make_cast()
        wallets.set_overdraft(
            customer=cast.customer,
            currency="USD",
            limit=Decimal(overdraft),
            actor=None,
        )
        now = clock.now()
        for kind, amount in moves:
            with clock.travel(now):
                if kind == "grant":
                    give(cast, str(amount), expires_at=now + DAY * 2)
                elif kind == "later":
                    now += DAY
                else:
                    burn(cast, str(amount if kind == "burn" else -amount))
                wallet = wallet_of(cast)
                assert all(g.remaining <= g.amount for g in wallet.grants.all())
        transaction.set_rollback(True)
