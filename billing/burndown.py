"""How a wallet moves: burnt in order, given back in reverse, written off in time.

The caller holds the customer's books; the wallet's row is locked after them.
Balances move by conditional updates, so that none can fall below the overdraft
limit. balance = sum of entries = what is left of the lots − what is overdrawn.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from django.db.models import F, Q, Sum

from aforo.lib import clock
from aforo.lib.money import ZERO
from billing.books import Posting
from billing.models import CreditGrant, Wallet, WalletEntry

Kind = WalletEntry.Kind
# How many entries are read at a time while walking back.
CHUNK = 500


def find(customer_id: uuid.UUID, currency: str) -> Wallet | None:
    """Return the customer's wallet in a currency, if there is one."""
    return Wallet.objects.filter(customer_id=customer_id, currency=currency).first()


def locked(customer_id: uuid.UUID, currency: str) -> Wallet | None:
    """Return the wallet with its row locked, after the books."""
    return (
        Wallet.objects.select_for_update()
        .filter(customer_id=customer_id, currency=currency)
        .first()
    )


def burn(
    *,
    posting: Posting,
    currency: str,
    amount: Decimal,
    title: str,
    billing_period_id: uuid.UUID,
) -> Decimal:
    """Pay a rated amount from the customer's wallet; return what it covered.

    What it cannot cover is left to the invoice. A negative amount goes back to the
    newest burns of the period, as far as they reach, and the result is negative.
    Without a wallet the result is zero.
    """
    if not amount:
        return ZERO
    wallet = locked(posting.customer_id, currency)
    if wallet is None:
        return ZERO
    expire(posting, wallet, clock.now())
    if amount < ZERO:
        return -_return(posting, wallet, -amount, title, billing_period_id)
    covered: Decimal = ZERO
    for lot in _spendable(wallet):
        part: Decimal = min(lot.remaining, amount - covered)
        taken = CreditGrant.objects.filter(pk=lot.pk, remaining__gte=part).update(
            remaining=F("remaining") - part
        )
        assert taken == 1, "a lot moved although its wallet is locked"
        move(
            posting,
            wallet,
            -part,
            kind=Kind.BURN,
            title=title,
            lot=lot,
            billing_period_id=billing_period_id,
        )
        covered += part
        if covered == amount:
            return covered
    room = wallet.balance + wallet.overdraft_limit
    part = min(room, amount - covered)
    if part > ZERO:
        move(
            posting,
            wallet,
            -part,
            kind=Kind.BURN,
            title=title,
            billing_period_id=billing_period_id,
        )
        covered += part
    return covered


def _spendable(wallet: Wallet) -> Iterable[CreditGrant]:
    """Return the lots with something left, in the order in which they are burnt."""
    return wallet.grants.filter(remaining__gt=0, expired_at__isnull=True).order_by(
        "priority", F("expires_at").asc(nulls_last=True), "id"
    )


def left(wallet: Wallet) -> Decimal:
    """Return what is left of all lots."""
    total: Decimal | None = wallet.grants.aggregate(total=Sum("remaining"))["total"]
    return total or ZERO


def move(
    posting: Posting,
    wallet: Wallet,
    amount: Decimal,
    *,
    kind: WalletEntry.Kind,
    title: str,
    lot: CreditGrant | None = None,
    billing_period_id: uuid.UUID | None = None,
    actor_label: str = "",
    reason: str = "",
) -> None:
    """Change the balance and write down why."""
    moved = Wallet.objects.filter(
        pk=wallet.pk, balance__gte=-amount - F("overdraft_limit")
    ).update(balance=F("balance") + amount)
    assert moved == 1, "the balance would fall below the overdraft limit"
    wallet.balance += amount
    WalletEntry.objects.create(
        tenant_id=posting.tenant_id,
        customer_id=posting.customer_id,
        wallet=wallet,
        grant=lot,
        kind=kind,
        title=title[:160],
        amount=amount,
        balance_after=wallet.balance,
        version=posting.version,
        billing_period_id=billing_period_id,
        actor_label=actor_label,
        reason=reason[:300],
    )
    posting.touch()


def _return(
    posting: Posting,
    wallet: Wallet,
    amount: Decimal,
    title: str,
    billing_period_id: uuid.UUID,
) -> Decimal:
    """Give an amount back to the newest burns of a period; return what found one."""
    given = ZERO
    for lot, part in _newest_burns(wallet, amount, billing_period_id):
        if lot is None:
            _lift_overdraft(wallet, part)
        else:
            CreditGrant.objects.filter(pk=lot.pk).update(
                remaining=F("remaining") + part
            )
        move(
            posting,
            wallet,
            part,
            kind=Kind.RETURN,
            title=title,
            lot=lot,
            billing_period_id=billing_period_id,
        )
        given += part
    # What comes back to a lot that has expired in the meantime expires at once.
    expire(posting, wallet, clock.now())
    return given


def _lift_overdraft(wallet: Wallet, amount: Decimal) -> None:
    """Take back an overdraft: what is repaid of it goes to the lots that repaid it."""
    rest = amount - (left(wallet) - wallet.balance)
    if rest <= ZERO:
        return
    # A lot's entries sum to what is left of it and what it repaid.
    for lot in wallet.grants.annotate(moved=Sum("entries__amount")).order_by("-id"):
        part = min(lot.moved - lot.remaining, rest)
        if part > ZERO:
            CreditGrant.objects.filter(pk=lot.pk).update(
                remaining=F("remaining") + part
            )
            rest -= part
    assert rest <= ZERO, "an overdraft was repaid by no lot"


def _newest_burns(
    wallet: Wallet, amount: Decimal, billing_period_id: uuid.UUID
) -> list[tuple[CreditGrant | None, Decimal]]:
    """Return which lots an amount was burnt from last, and how much from each.

    Returns take burns from the newest back, so walking back each return cancels
    the burns of its lot that come next.
    """
    cancelled: dict[uuid.UUID | None, Decimal] = defaultdict(Decimal)
    lots: dict[uuid.UUID | None, CreditGrant | None] = {}
    parts: dict[uuid.UUID | None, Decimal] = defaultdict(Decimal)
    rest = amount
    entries = (
        wallet.entries.filter(
            billing_period_id=billing_period_id, kind__in=[Kind.BURN, Kind.RETURN]
        )
        .select_related("grant")
        .order_by("-id")
    )
    for entry in entries.iterator(chunk_size=CHUNK):
        lot_id = entry.grant_id
        if entry.kind == Kind.RETURN:
            cancelled[lot_id] += entry.amount
            continue
        skip = min(cancelled[lot_id], -entry.amount)
        cancelled[lot_id] -= skip
        part = min(-entry.amount - skip, rest)
        if part:
            lots[lot_id] = entry.grant
            parts[lot_id] += part
            rest -= part
        if not rest:
            break
    return [(lots[lot_id], part) for lot_id, part in parts.items()]


def applied(
    customer_id: uuid.UUID, billing_period_id: uuid.UUID, currency: str
) -> Decimal:
    """Return what wallets paid of a period: burns less returns."""
    total: Decimal | None = WalletEntry.objects.filter(
        customer_id=customer_id,
        billing_period_id=billing_period_id,
        wallet__currency=currency,
        kind__in=[Kind.BURN, Kind.RETURN],
    ).aggregate(total=Sum("amount"))["total"]
    return -(total or ZERO)


def expire(posting: Posting, wallet: Wallet, now: dt.datetime) -> int:
    """Write off what is left of lots that have expired; return how many."""
    # A lot that was written off before can have got something back since.
    over = wallet.grants.filter(expires_at__lte=now).filter(
        Q(remaining__gt=0) | Q(expired_at__isnull=True)
    )
    count = 0
    for lot in over.order_by("id"):
        if lot.remaining:
            CreditGrant.objects.filter(pk=lot.pk).update(remaining=0)
            move(
                posting,
                wallet,
                -lot.remaining,
                kind=Kind.EXPIRY,
                title=f"{lot.title} expired",
                lot=lot,
            )
        CreditGrant.objects.filter(pk=lot.pk, expired_at__isnull=True).update(
            expired_at=now
        )
        count += 1
    return count
