"""Prepaid credit: added by grants, burnt by usage, returned, expired."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES, PLACES, ZERO, plain
from billing import books, burndown, spend_levels
from billing.books import Posting
from billing.burndown import applied, burn, find
from billing.models import CreditGrant, Customer, Wallet, WalletEntry

__all__ = [
    "applied",
    "burn",
    "expire_grants",
    "find",
    "grant",
    "set_overdraft",
    "top_up",
]

Kind = WalletEntry.Kind
# The largest single grant; beyond it the edge could not count in millionths.
GRANT_MAX = Decimal(9_000_000_000)


def _check(amount: Decimal, currency: str) -> None:
    """Refuse an amount that is no credit, or a currency that is none."""
    if currency not in CURRENCIES:
        raise AforoError(
            "unknown_currency", 422, f"{currency} is no currency.", field="currency"
        )
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or not ZERO < amount <= GRANT_MAX:
        raise AforoError(
            "invalid_amount",
            422,
            f"An amount is above 0 and at most {GRANT_MAX:,}.",
            field="amount",
        )
    if exponent < -PLACES:
        raise AforoError(
            "too_precise", 422, "At most 12 decimal places.", field="amount"
        )


def grant(
    *,
    customer: Customer,
    currency: str,
    amount: Decimal,
    kind: CreditGrant.Kind,
    title: str,
    actor: User | None,
    priority: int = 100,
    expires_at: dt.datetime | None = None,
    reason: str = "",
) -> CreditGrant:
    """Add a lot of credit; what is overdrawn is repaid from it first.

    Lots are burnt in the order of priority (small first), expiry, age. Raises
    AforoError 422 `unknown_currency`, `invalid_amount`, `too_precise` or
    `already_expired`.
    """
    _check(amount, currency)
    if expires_at is not None and expires_at <= clock.now():
        raise AforoError(
            "already_expired", 422, "Credit expires in the future.", field="expires_at"
        )
    with books.transaction(customer.pk) as posting:
        posting.touch()
        Wallet.objects.get_or_create(
            customer=customer,
            currency=currency,
            defaults={"tenant_id": customer.tenant_id},
        )
        wallet = burndown.locked(customer.pk, currency)
        assert wallet is not None
        overdrawn = burndown.left(wallet) - wallet.balance
        lot = CreditGrant.objects.create(
            tenant_id=customer.tenant_id,
            customer=customer,
            wallet=wallet,
            kind=kind,
            title=title,
            priority=priority,
            amount=amount,
            remaining=amount - min(overdrawn, amount),
            expires_at=expires_at,
            granted_by=actor,
        )
        burndown.move(
            posting,
            wallet,
            amount,
            kind=Kind.GRANT,
            title=f"{title} +{plain(amount)}",
            lot=lot,
            actor_label=str(actor or ""),
            reason=reason,
        )
        _note_grant(lot, currency=currency, actor=actor, reason=reason)
        _follow_level(posting, lot, actor)
    return lot


def _follow_level(posting: Posting, lot: CreditGrant, actor: User | None) -> None:
    """Let contracts reach the spend levels that bought credits open."""
    if lot.kind == CreditGrant.Kind.PURCHASED:
        cause = spend_levels.Cause.CREDITS
        spend_levels.settle(posting, cause=cause, grant_id=lot.pk, actor=actor)


def _note_grant(
    lot: CreditGrant, *, currency: str, actor: User | None, reason: str
) -> None:
    """Write down who granted a lot."""
    audit.record(
        tenant=lot.tenant_id,
        actor=actor,
        action="wallet.credit_granted",
        target=lot,
        changes={
            "amount": [None, f"{plain(lot.amount)} {currency}"],
            "kind": [None, lot.kind],
            "expires_at": [None, lot.expires_at and lot.expires_at.isoformat()],
        },
        reason=reason,
    )


def top_up(
    *,
    customer: Customer,
    currency: str,
    amount: Decimal,
    actor: User | None,
    title: str = "Top-up",
    expires_at: dt.datetime | None = None,
    reason: str = "",
) -> CreditGrant:
    """Add credit that the customer paid for; see `grant`."""
    return grant(
        customer=customer,
        currency=currency,
        amount=amount,
        kind=CreditGrant.Kind.PURCHASED,
        title=title,
        actor=actor,
        expires_at=expires_at,
        reason=reason,
    )


def set_overdraft(
    *, customer: Customer, currency: str, limit: Decimal, actor: User | None
) -> Wallet:
    """Let the balance fall to −limit.

    Raises AforoError 422 `invalid_amount`, also when more is overdrawn already.
    """
    if not ZERO <= limit <= GRANT_MAX:
        raise AforoError(
            "invalid_amount", 422, f"From 0 to {GRANT_MAX:,}.", field="limit"
        )
    with books.transaction(customer.pk) as posting:
        posting.touch()
        Wallet.objects.get_or_create(
            customer=customer,
            currency=currency,
            defaults={"tenant_id": customer.tenant_id},
        )
        wallet = burndown.locked(customer.pk, currency)
        assert wallet is not None
        if burndown.left(wallet) - wallet.balance > limit:
            raise AforoError(
                "invalid_amount", 422, "More is overdrawn already.", field="limit"
            )
        before = wallet.overdraft_limit
        wallet.overdraft_limit = limit
        wallet.save(update_fields=["overdraft_limit"])
        audit.record(
            tenant=customer.tenant_id,
            actor=actor,
            action="wallet.overdraft_set",
            target=wallet,
            changes={"overdraft_limit": [plain(before), plain(limit)]},
        )
    return wallet


def expire_grants(now: dt.datetime) -> int:
    """Write off every lot that has expired, customer by customer; return how many."""
    due = (
        CreditGrant.objects.filter(expires_at__lte=now, expired_at__isnull=True)
        .order_by("customer_id")
        .values_list("customer_id", flat=True)
        .distinct()
    )
    count = 0
    for customer_id in due:
        with books.transaction(customer_id) as posting:
            for wallet in (
                Wallet.objects.select_for_update()
                .filter(customer_id=customer_id)
                .order_by("id")
            ):
                count += burndown.expire(posting, wallet, now)
    return count
