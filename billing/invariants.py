"""The laws of the books, each as a check that names what breaks it."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from decimal import Decimal

from aforo.lib import clock
from aforo.lib.invariants import Invariant, rows
from aforo.lib.money import ZERO, minor_units, plain
from billing import ledger, spend_levels
from billing.models import CustomerBooks, LedgerBatch, LedgerEntry

# What moves a contract beside its usage is followed by the beat of every minute.
MOVED_WITHIN = dt.timedelta(minutes=2)


def lines_equal_ledger() -> Iterator[str]:
    """Return lines of issued invoices that differ from the ledger, and the reverse."""
    found = rows(
        """
        WITH charges AS (
          SELECT e.*, c.charge_key, c.charge_amount
          FROM billing_ledgerentry e JOIN billing_ledgerbasis b ON b.id = e.basis_id,
            unnest(b.charge_keys, aforo_figures(e.amounts))
              AS c (charge_key, charge_amount)),
        booked AS (
          SELECT i.id AS invoice_id, i.number, c.subscription_id, c.charge_key,
            CASE WHEN c.usage_period_id = c.billing_period_id THEN NULL
                 ELSE c.usage_period_id END AS usage_period_id,
            sum(c.charge_amount) AS amount
          FROM charges c JOIN billing_invoice i
            ON i.customer_id = c.customer_id AND i.period_id = c.billing_period_id
            AND i.currency = c.currency AND i.state <> 'draft'
          GROUP BY 1, 2, 3, 4, 5),
        printed AS (
          SELECT l.invoice_id, l.subscription_id, l.charge_key, l.usage_period_id,
            l.amount
          FROM billing_invoiceline l JOIN billing_invoice i ON i.id = l.invoice_id
          WHERE i.state <> 'draft')
        SELECT COALESCE(b.number, p.invoice_id::text), COALESCE(b.charge_key,
          p.charge_key), b.amount, p.amount
        FROM booked b FULL JOIN printed p
          ON p.invoice_id = b.invoice_id AND p.subscription_id = b.subscription_id
          AND p.charge_key = b.charge_key
          AND p.usage_period_id IS NOT DISTINCT FROM b.usage_period_id
        WHERE COALESCE(b.amount, 0) <> COALESCE(p.amount, 0)
        """
    )
    for number, charge, booked, printed in found:
        yield (
            f"{number} {charge}: the ledger says {plain(booked or ZERO)},"
            f" the line {plain(printed or ZERO)}"
        )


def invoices_add_up() -> Iterator[str]:
    """Return invoices whose lines, tax, credits and totals do not add up."""
    found = rows(
        """
        SELECT i.number, i.currency, i.subtotal, i.tax, i.total, i.credits_applied,
          i.due, COALESCE(sum(l.amount), 0)
        FROM billing_invoice i LEFT JOIN billing_invoiceline l ON l.invoice_id = i.id
        WHERE i.state <> 'draft' GROUP BY i.id
        """
    )
    for number, currency, subtotal, tax, total, credit, due, lines in found:
        if not (lines == subtotal and subtotal + tax == total):
            yield f"{number}: lines {lines} + tax {tax} are not {total}"
        if total - credit != due:
            yield f"{number}: {total} less credits {credit} is not {due}"
        coin = Decimal(1).scaleb(-minor_units(currency))
        if any(value % coin for value in (subtotal, tax, total, due)):
            yield f"{number}: an amount is not in whole minor units of {currency}"


def entries_add_up() -> Iterator[str]:
    """Return ledger entries whose charges do not sum to their amount."""
    found = rows(
        """
        SELECT e.id, e.amount, l.total FROM billing_ledgerentry e
        LEFT JOIN billing_ledgerbasis b
          ON b.id = e.basis_id AND b.tenant_id = e.tenant_id
        CROSS JOIN LATERAL (
          SELECT COALESCE(sum(a), 0) AS total, count(*) AS parts
          FROM unnest(aforo_figures(e.amounts)) AS a) AS l
        WHERE e.amount <> l.total
          OR cardinality(b.charge_keys) IS DISTINCT FROM l.parts
          OR cardinality(aforo_figures(e.quantities)) <> l.parts
        """
    )
    for key, amount, parts in found:
        yield f"entry {key}: {plain(amount)} is not the sum of its charges, {parts}"


def entries_can_be_read() -> Iterator[str]:
    """Return entries whose steps are not as many as their charges, and bases' ids.

    The id of a basis follows from its tenant and content.
    """
    for (key,) in rows(
        """
        SELECT e.id FROM billing_ledgerentry e
        JOIN billing_ledgerbasis b ON b.id = e.basis_id
        WHERE (e.own_steps IS NULL) = (b.steps IS NULL)
        LIMIT 100
        """
    ):
        yield f"entry {key}: its steps are told twice, or nowhere"
    for (key,) in rows(
        "SELECT id FROM billing_ledgerbasis"
        " WHERE id <> aforo_ledger_basis_id(tenant_id, charge_keys, steps)"
        " OR jsonb_array_length(steps) <> cardinality(charge_keys) LIMIT 100"
    ):
        yield f"ledger basis {key}: its id is not that of its content"


def chains_hold() -> Iterator[str]:
    """Return batches whose entries, digest or place in the chain were touched."""
    entries = (
        LedgerEntry.objects.order_by("customer_id", "version", "id")
        .only(
            "id", "kind", "event_id", "reverses_id", "subscription_id", "snapshot_id",
            "usage_period_id", "billing_period_id", "currency", "amount", "basis",
            "quantities", "amounts", "occurred_at", "spend_level", "customer_id",
            "version",
        )
        .iterator(chunk_size=2000)
    )  # fmt: skip
    groups = itertools.groupby(entries, key=lambda e: (e.customer_id, e.version))
    by_batch = {key: list(group) for key, group in groups}
    heads: dict[object, str] = {}
    for batch in LedgerBatch.objects.order_by("customer_id", "version"):
        own = by_batch.pop((batch.customer_id, batch.version), [])
        name = f"customer {batch.customer_id} v{batch.version}"
        if batch.previous != heads.get(batch.customer_id, ""):
            yield f"{name} does not follow the batch before it"
        if len(own) != batch.entry_count:
            yield f"{name} has {len(own)} entries, not {batch.entry_count}"
        elif ledger.digest(batch.previous, own) != batch.digest:
            yield f"{name}: an entry differs from what was sealed ({own[0].id} …)"
        heads[batch.customer_id] = batch.digest
    for customer, version in by_batch:
        yield f"customer {customer} v{version} has entries without a batch"
    for customer, head in rows("SELECT customer_id, head FROM billing_customerbooks"):
        if head != heads.get(customer, ""):
            yield f"the books of customer {customer} end at another digest"


def totals_equal_ledger() -> Iterator[str]:
    """Return counter rows whose spend is not the sum of their entries."""
    found = rows(
        """
        SELECT t.subscription_id, t.period_id, t.spend, COALESCE(sum(e.amount), 0)
        FROM billing_usagetotal t LEFT JOIN billing_ledgerentry e
          ON e.customer_id = t.customer_id AND e.subscription_id = t.subscription_id
          AND e.snapshot_id = t.snapshot_id AND e.usage_period_id = t.period_id
          AND e.kind IN ('usage', 'adjustment', 'reversal', 'reprice')
          AND (e.event_id IS NOT NULL OR e.session_id IS NOT NULL)
        GROUP BY t.id HAVING t.spend <> COALESCE(sum(e.amount), 0)
        """
    )
    for subscription, period, spend, booked in found:
        yield (
            f"subscription {subscription} in period {period}: the counter says"
            f" {plain(spend)}, the ledger {plain(booked)}"
        )


def wallets_hold() -> Iterator[str]:
    """Return wallets that their entries or grants do not explain."""
    found = rows(
        """
        SELECT w.id, w.balance, w.overdraft_limit,
          COALESCE((SELECT sum(amount) FROM billing_walletentry WHERE wallet_id = w.id),
            0),
          COALESCE((SELECT sum(remaining) FROM billing_creditgrant
            WHERE wallet_id = w.id), 0)
        FROM billing_wallet w
        """
    )
    for key, balance, overdraft, entries, remaining in found:
        if balance != entries:
            yield f"wallet {key}: balance {balance}, entries {entries}"
        if balance < -overdraft:
            yield f"wallet {key}: {balance} is below the overdraft of {overdraft}"
        if balance > 0 and remaining != balance:
            yield f"wallet {key}: balance {balance}, grants hold {remaining}"
    late = rows(
        """
        SELECT n.id, g.id FROM billing_walletentry n
        JOIN billing_creditgrant g ON g.id = n.grant_id
        WHERE n.kind = 'burn' AND g.expires_at IS NOT NULL
          AND n.created_at >= g.expires_at
        """
    )
    for entry, grant in late:
        yield f"entry {entry} spent grant {grant} after it expired"


def numbers_have_no_gap() -> Iterator[str]:
    """Return prefixes whose invoice numbers are not 1, 2, 3 … to the counter."""
    found = rows(
        r"""
        SELECT c.tenant_id, c.prefix, c.last,
          count(i.id), COALESCE(max(substring(i.number from '(\d+)$')::bigint), 0)
        FROM billing_invoicecounter c LEFT JOIN billing_invoice i
          ON i.tenant_id = c.tenant_id
          AND i.number ~ ('^' || c.prefix || '-\d+$')
        GROUP BY c.id
        HAVING count(i.id) <> c.last
          OR COALESCE(max(substring(i.number from '(\d+)$')::bigint), 0) <> c.last
        """
    )
    for tenant, prefix, last, count, highest in found:
        yield f"{tenant} {prefix}: counter {last}, {count} invoices, highest {highest}"


def periods_touch() -> Iterator[str]:
    """Return periods that overlap or leave a hole."""
    found = rows(
        """
        SELECT customer_id, start_at, before FROM (
          SELECT customer_id, start_at,
            lag(end_at) OVER (PARTITION BY customer_id ORDER BY start_at) AS before
          FROM billing_billingperiod) p
        WHERE before IS NOT NULL AND before <> start_at
        """
    )
    for customer, start, before in found:
        yield f"customer {customer}: a period ends {before}, the next starts {start}"


def former_facets_touch() -> Iterator[str]:
    """Return rows of what was before that overlap, leave a hole or name nobody."""
    found = rows(
        """
        SELECT kind, subject_id, valid_from, before FROM (
          SELECT f.*, lag(valid_to) OVER own AS before
          FROM billing_formerfacets f
          WINDOW own AS (PARTITION BY subject_id ORDER BY valid_to)) f
        WHERE valid_from IS DISTINCT FROM before
        LIMIT 100
        """
    )
    for kind, subject, start, before in found:
        yield f"{kind} {subject}: was kept until {before}, then from {start}"
    for kind, subject in rows(
        """
        SELECT f.kind, f.subject_id FROM billing_formerfacets f
        LEFT JOIN billing_agent a ON a.id = f.subject_id AND f.kind = 'agent'
        LEFT JOIN billing_team t ON t.id = f.subject_id AND f.kind = 'team'
        LEFT JOIN billing_team o ON o.id = f.team_id
        WHERE f.customer_id IS DISTINCT FROM CASE f.kind WHEN 'agent' THEN a.customer_id
            WHEN 'team' THEN t.customer_id ELSE f.subject_id END
          OR (f.kind = 'agent' AND o.customer_id IS DISTINCT FROM f.customer_id)
        LIMIT 100
        """
    ):
        yield f"{kind} {subject}: what it was is kept under another customer"


def spend_levels_are_kept() -> Iterator[str]:
    """Return contracts that are at another spend level than their last move says.

    A move of an earlier period stands until the beat has looked at the new one.
    """
    now = clock.now()
    settled = CustomerBooks.objects.filter(changed_at__lt=now - MOVED_WITHIN)
    customers = list(settled.values_list("customer_id", flat=True))
    for stand in spend_levels.stands(customers, now):
        moved_now = stand.moved_in in (None, stand.period_id)
        if moved_now and stand.level.key != stand.recorded:
            yield (
                f"subscription {stand.subscription_id}: at {stand.level.key} by"
                f" {plain(stand.spend)} spent, {stand.recorded} is kept"
            )


INVARIANTS = [
    Invariant("I-1", "Invoice lines equal the ledger", lines_equal_ledger),
    Invariant("I-1b", "Invoices add up", invoices_add_up),
    Invariant("I-2", "Ledger entries are the sum of their charges", entries_add_up),
    Invariant("I-2b", "Ledger entries fit their bases", entries_can_be_read),
    Invariant("I-4", "The chain of batches is whole", chains_hold),
    Invariant("I-5b", "Counters equal the ledger", totals_equal_ledger),
    Invariant("I-47", "Spend levels are as they were moved", spend_levels_are_kept),
    Invariant("I-10", "Wallets equal their entries", wallets_hold),
    Invariant("I-15", "Invoice numbers have no gap", numbers_have_no_gap),
    Invariant("I-26", "Billing periods touch without overlap", periods_touch),
    Invariant("I-43", "Former facets touch without overlap", former_facets_touch),
]
