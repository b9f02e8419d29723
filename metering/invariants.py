"""The laws of usage: nothing lost, nothing twice, the same price every time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from aforo.lib import clock
from aforo.lib.invariants import Invariant, rows
from aforo.lib.money import ZERO, plain
from billing import contracts
from billing.models import SubscriptionSnapshot
from billing.rating import TotalKey
from catalog.pricing import close_sessions, collect, opening, price
from metering import rated, rollup_proof

PATIENCE = dt.timedelta(seconds=60)


def every_event_is_somewhere() -> Iterator[str]:
    """Return events that are not exactly one of rated, listed or pending."""
    found = rows(
        """
        WITH waiting AS (
          SELECT unnest(event_ids) AS id FROM metering_pendingevents)
        SELECT e.id, (l.id IS NOT NULL), (u.id IS NOT NULL), (w.id IS NOT NULL),
          (v.id IS NOT NULL)
        FROM metering_usageevent e
        LEFT JOIN metering_eventvoid v ON v.event_id = e.id
        LEFT JOIN billing_ledgerentry l
          ON l.event_id = e.id AND l.kind IN ('usage', 'adjustment')
        LEFT JOIN metering_unrateable u
          ON u.event_id = e.id AND u.resolved_at IS NULL
        LEFT JOIN waiting w ON w.id = e.id
        WHERE CASE WHEN v.id IS NULL
          THEN (l.id IS NOT NULL)::int + (u.id IS NOT NULL)::int
            + (w.id IS NOT NULL)::int <> 1
          ELSE u.id IS NOT NULL OR w.id IS NOT NULL
            OR (l.id IS NOT NULL) <> (v.was = 'rated') END
        LIMIT 100
        """
    )
    for key, priced, listed, waiting, void in found:
        yield (
            f"event {key}: rated {priced}, listed {listed}, pending {waiting},"
            f" void {void}"
        )


def voids_mirror_their_events() -> Iterator[str]:
    """Return voids whose entry is not reversed, and reversals without a void."""
    found = rows(
        """
        SELECT l.event_id, l.amount, r.amount, v.amount, s.amount
        FROM billing_ledgerentry l
        LEFT JOIN metering_eventvoid v ON v.event_id = l.event_id
        LEFT JOIN billing_ledgerentry r ON r.reverses_id = l.id
        LEFT JOIN LATERAL (
          SELECT COALESCE(sum(amount), 0) AS amount FROM billing_ledgerentry
          WHERE customer_id = l.customer_id AND version = r.version
            AND event_id = l.event_id AND kind IN ('reversal', 'reprice')
        ) s ON true
        WHERE l.kind IN ('usage', 'adjustment') AND l.event_id IS NOT NULL
          AND (v.id IS NOT NULL OR r.id IS NOT NULL)
          AND (v.id IS NULL OR r.id IS NULL OR r.amount <> -l.amount
            OR v.amount <> s.amount)
        LIMIT 100
        """
    )
    for key, amount, reversed_, told, posted in found:
        yield (
            f"event {key}: charged {amount}, reversed {reversed_}; its void says"
            f" {told}, the ledger {posted}"
        )


def nothing_waits_long() -> Iterator[str]:
    """Return how much has been pending for more than a minute."""
    found = rows(
        "SELECT count(*), min(received_at) FROM metering_pendingevents"
        " WHERE received_at < %(limit)s",
        limit=clock.now() - PATIENCE,
    )
    for count, oldest in found:
        if count:
            yield f"{count} batches wait for rating, the oldest since {oldest}"


def the_queue_names_its_customers() -> Iterator[str]:
    """Return queue rows that name other customers than those of their events."""
    found = rows(
        """
        SELECT p.id FROM metering_pendingevents p
        WHERE NOT p.customer_ids @> ARRAY(
            SELECT e.customer_id FROM metering_usageevent e
            WHERE e.id = ANY(p.event_ids))
          OR NOT p.customer_ids <@ ARRAY(
            SELECT e.customer_id FROM metering_usageevent e
            WHERE e.id = ANY(p.event_ids))
        LIMIT 100
        """
    )
    for (key,) in found:
        yield f"queue row {key} does not name the customers of its events"


def rating_again_gives_the_same() -> Iterator[str]:
    """Price all rated events from their raw bodies; return charges that differ."""
    tenants = [row[0] for row in rows("SELECT id FROM core_tenant")]
    # Of all usage: an event that no charge counts has an entry without lines.
    used_by = rows(
        "SELECT DISTINCT snapshot_id FROM billing_ledgerentry"
        " WHERE event_id IS NOT NULL AND snapshot_id IS NOT NULL"
    )
    plans = contracts.plans_of(
        SubscriptionSnapshot.objects.filter(pk__in=[row[0] for row in used_by])
    )
    booked, settled = _booked(), _settled()
    for key, events in rated.by_counter(tenants):
        if key.snapshot_id not in plans:
            yield f"snapshot {key.snapshot_id} has usage but no plan"
            continue
        plan = plans[key.snapshot_id]
        used = collect(plan.plan, events)
        _, used = close_sessions(plan.plan, used, settled.get(key, ()))
        again = {line.charge_key: line.amount for line in price(plan.plan, used)}
        for line in opening(plan.plan):  # Booked apart, when the period opened.
            again[line.charge_key] -= line.amount
        there = booked.get(key, {})
        for charge in sorted(set(again) | set(there)):
            a, b = again.get(charge, ZERO), there.get(charge, ZERO)
            if a != b:
                yield (
                    f"subscription {key.subscription_id} {charge}: rated again"
                    f" {plain(a)}, booked {plain(b)}"
                )


def _booked() -> dict[TotalKey, dict[str, Decimal]]:
    """Return what the ledger has for usage, by counter row and charge."""
    found = rows(
        """
        SELECT e.subscription_id, e.snapshot_id, e.usage_period_id, c.charge_key,
          sum(c.amount)
        FROM billing_ledgerentry e,
          unnest(e.charge_keys, e.amounts) AS c (charge_key, amount)
        WHERE e.event_id IS NOT NULL OR e.session_id IS NOT NULL
        GROUP BY 1, 2, 3, 4
        """
    )
    booked: dict[TotalKey, dict[str, Decimal]] = {}
    for sub, snapshot, period, charge, amount in found:
        booked.setdefault(TotalKey(sub, snapshot, period), {})[charge] = amount
    return booked


def _settled() -> dict[TotalKey, set[str]]:
    """Return the sessions whose end was priced, by counter row."""
    settled: dict[TotalKey, set[str]] = {}
    for sub, snapshot, period, session in rows(
        "SELECT u.subscription_id, u.snapshot_id, u.period_id, t.group_id"
        " FROM billing_grouptotal t JOIN billing_usagetotal u ON u.id = t.total_id"
        " WHERE t.state->>'closed' = 'true'"
    ):
        settled.setdefault(TotalKey(sub, snapshot, period), set()).add(session.hex)
    return settled


def sums_equal_events() -> Iterator[str]:
    """Return hourly sums and sessions that the facts do not explain."""
    found = rows(
        """
        WITH facts AS (
          SELECT e.customer_id, count(*) FILTER (
              WHERE f.kind = 'original' AND v.id IS NULL) AS events,
            COALESCE(sum(f.amount), 0) AS cost
          FROM metering_usageevent e
          JOIN metering_costfact f ON f.event_id = e.id
          LEFT JOIN metering_eventvoid v ON v.event_id = e.id
          GROUP BY 1),
        money AS (
          SELECT customer_id, sum(amount) AS revenue FROM billing_ledgerentry
          WHERE event_id IS NOT NULL GROUP BY 1),
        sums AS (
          SELECT customer_id, sum(event_count) AS events, sum(revenue) AS revenue
          FROM metering_usagerollup GROUP BY 1)
        SELECT COALESCE(f.customer_id, s.customer_id), f.events, s.events, m.revenue,
          s.revenue
        FROM facts f FULL JOIN sums s USING (customer_id)
        LEFT JOIN money m ON m.customer_id = COALESCE(f.customer_id, s.customer_id)
        WHERE COALESCE(f.events, 0) <> COALESCE(s.events, 0)
          OR COALESCE(m.revenue, 0) <> COALESCE(s.revenue, 0)
        """
    )
    for customer, events, counted, revenue, summed in found:
        yield (
            f"customer {customer}: {events} events and {revenue} booked,"
            f" {counted} and {summed} in the hourly sums"
        )
    for key, charged, booked in rows(
        """
        SELECT s.key, s.price, COALESCE(sum(l.amount), 0)
        FROM metering_session s LEFT JOIN billing_ledgerentry l
          ON l.session_id = s.id AND l.customer_id = s.customer_id
        GROUP BY s.id HAVING s.price <> COALESCE(sum(l.amount), 0)
        """
    ):
        yield f"session {key}: price {charged}, booked {booked}"


def costs_add_up() -> Iterator[str]:
    """Return costs that differ from their lines, and sums that differ from costs."""
    for event, amount, parts in rows(
        """
        SELECT f.event_id, f.amount, l.amount
        FROM metering_costfact f LEFT JOIN metering_costbasis b ON b.id = f.basis_id
        CROSS JOIN LATERAL (SELECT COALESCE(sum(x.amount), 0) AS amount
          FROM aforo_cost_lines(b.parts, f.figures) x) l
        WHERE f.amount IS NOT NULL AND f.kind = 'original' AND f.amount <> l.amount
        LIMIT 100
        """
    ):
        yield f"event {event}: cost {plain(amount)}, its lines {plain(parts)}"
    for customer, facts, summed in rows(
        """
        SELECT f.customer_id, f.cost, r.cost FROM
          (SELECT f.customer_id, sum(f.amount) AS cost FROM metering_costfact f
           GROUP BY 1) f
        JOIN (SELECT customer_id, sum(cost) AS cost,
            count(DISTINCT currency) AS currencies
          FROM metering_usagerollup GROUP BY 1) r USING (customer_id)
        WHERE r.currencies = 1 AND COALESCE(f.cost, 0) <> r.cost
          AND NOT EXISTS (SELECT FROM metering_costfact x
            JOIN metering_usagerollup y ON y.customer_id = x.customer_id
            WHERE x.customer_id = f.customer_id AND x.currency <> y.currency)
        """
    ):
        yield f"customer {customer}: costs {facts}, hourly sums {summed}"


def costs_can_be_read() -> Iterator[str]:
    """Return costs whose basis is not there or has not as many lines, and others' ids.

    The id of a basis follows from its tenant and parts.
    """
    for event, basis, numbers in rows(
        """
        SELECT f.event_id, f.basis_id, cardinality(string_to_array(f.figures, ' '))
        FROM metering_costfact f LEFT JOIN metering_costbasis b
          ON b.id = f.basis_id AND b.tenant_id = f.tenant_id
        WHERE CASE WHEN f.basis_id IS NULL THEN f.figures <> ''
          ELSE b.id IS NULL OR cardinality(string_to_array(f.figures, ' '))
            <> 2 * jsonb_array_length(b.parts) END
        LIMIT 100
        """
    ):
        yield f"event {event}: {numbers} figures do not fit the cost basis {basis}"
    for (key,) in rows(
        "SELECT id FROM metering_costbasis"
        " WHERE id <> aforo_cost_basis_id(tenant_id, parts) LIMIT 100"
    ):
        yield f"cost basis {key}: its id is not that of its parts"


def implicit_sessions_hold() -> Iterator[str]:
    """Return implicit sessions whose first or last call is none of their events."""
    for key, start, last in rows(
        """
        SELECT w.key, w.started_at, w.last_at FROM metering_implicitsession w
        LEFT JOIN LATERAL (
          SELECT bool_or(e.occurred_at = w.started_at) AS first,
            bool_or(e.occurred_at = w.last_at) AS last
          FROM metering_usageevent e
          WHERE e.customer_id = w.customer_id AND e.session_key = w.key
            AND e.credential_id = w.credential_id) e ON true
        WHERE (e.first AND e.last) IS NOT TRUE LIMIT 100
        """
    ):
        yield f"session {key}: no call of it at {start} or at {last}"


INVARIANTS = [
    Invariant("I-5", "Rating again gives the same ledger", rating_again_gives_the_same),
    Invariant(
        "I-19", "Every event is rated, listed or pending", every_event_is_somewhere
    ),
    Invariant(
        "I-19b", "Nothing is pending for a minute", nothing_waits_long, live=True
    ),
    Invariant("I-19c", "The queue names its customers", the_queue_names_its_customers),
    Invariant("I-3b", "Voids mirror their events", voids_mirror_their_events),
    Invariant("I-20", "Costs equal their lines and sums", costs_add_up),
    Invariant("I-20d", "Costs fit their bases", costs_can_be_read),
    Invariant("I-20b", "Sums equal the events", sums_equal_events),
    Invariant("I-44", "Implicit sessions hold their calls", implicit_sessions_hold),
    Invariant("I-20c", "Hourly sums equal the facts", rollup_proof.sums_equal_facts),
]
