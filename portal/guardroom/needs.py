"""What needs a person, found from usage, wallets and margins as they are recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import Sum
from django.urls import reverse

from aforo.core.models import Tenant
from aforo.lib import ids
from aforo.lib.money import ZERO, display
from billing.models import Customer
from guard import needs
from guard.needs import Need
from metering.models import UsageRollup
from portal.selectors import figures
from portal.selectors.cogs import FLOOR
from portal.selectors.figures import Figures

TIMES: Final = 3  # above the average of seven days
RATE_MIN: Final = 20  # calls a minute; below, nobody needs to look
SOON_H: Final = 24  # a wallet that lasts longer can wait
COST_MIN: Final = Decimal(1)  # below, a margin says nothing
CANDIDATES_MAX: Final = 50
FOUND_MAX: Final = 10

# Calls a minute of this hour beside those of the active hours of seven days.
VELOCITY = """
WITH hours AS (
  SELECT customer_id, agent_id, tool_name, hour, sum(event_count) AS calls
  FROM metering_usagerollup
  WHERE hour >= %(since)s AND agent_id IS NOT NULL
  GROUP BY customer_id, agent_id, tool_name, hour),
paces AS (
  SELECT customer_id, agent_id, tool_name,
    sum(calls) FILTER (WHERE hour = %(hour)s) / %(minutes)s::numeric AS now,
    avg(calls) FILTER (WHERE hour < %(hour)s) / 60 AS normal,
    count(*) FILTER (WHERE hour < %(hour)s) AS hours
  FROM hours GROUP BY customer_id, agent_id, tool_name)
SELECT p.agent_id, a.name, c.name, p.tool_name, p.now, p.normal
FROM paces p JOIN billing_agent a ON a.id = p.agent_id
JOIN billing_customer c ON c.id = p.customer_id
WHERE p.hours > 0 AND p.now >= %(least)s AND p.now > %(times)s * p.normal
ORDER BY p.now / p.normal DESC LIMIT %(most)s
"""
# What wallets that must cover calls burnt in the last hour.
WALLETS = """
SELECT c.id, c.name, w.id, w.currency, w.balance + w.overdraft_limit, coalesce((
  SELECT -sum(e.amount) FROM billing_walletentry e
  WHERE e.wallet_id = w.id AND e.id >= %(first)s AND e.created_at >= %(since)s
    AND e.kind IN ('burn', 'return')), 0)
FROM billing_wallet w JOIN billing_customer c ON c.id = w.customer_id
WHERE w.enforced AND w.currency = c.currency
"""


def _subject_url(deed: str, public_id: str) -> str:
    return f"{reverse('guard-deed', args=[public_id, deed])}"


def velocity(tenant: Tenant, now: dt.datetime) -> Iterator[Need]:
    """Find agents that call a tool far more often than in the last seven days."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    minutes = max((now - hour).total_seconds() / 60, 5)
    with connection.cursor() as cursor:
        cursor.execute(
            VELOCITY,
            {
                "since": hour - dt.timedelta(days=7),
                "hour": hour,
                "minutes": minutes,
                "least": RATE_MIN,
                "times": TIMES,
                "most": FOUND_MAX,
            },
        )
        rows = cursor.fetchall()
    for agent_id, agent, customer, tool, pace, normal in rows:
        public_id = ids.public("agt", agent_id)
        called = f"invokes {tool}" if tool else "calls"
        yield Need(
            key=f"velocity:{public_id}:{tool}",
            tone="warn",
            title=f"{agent} ({customer}) {called} at {pace:.0f} a minute",
            text=f"{pace / normal:.1f} times its average of seven days,"
            f" {normal:.0f} a minute. Investigate or pause?",
            since=hour,
            actions=(
                ("Throttle", _subject_url("throttle", public_id)),
                ("Block", _subject_url("block", public_id)),
            ),
        )


def wallets(tenant: Tenant, now: dt.datetime) -> Iterator[Need]:
    """Find prepaid credit that is used up, or will be within a day at this rate."""
    since = now - dt.timedelta(hours=1)
    with connection.cursor() as cursor:
        cursor.execute(WALLETS, {"first": ids.oldest_since(since), "since": since})
        rows = cursor.fetchall()
    for customer_id, name, wallet_id, currency, left, pace in rows:
        if left > 0 and (pace <= 0 or left / pace > SOON_H):
            continue
        url = reverse("customer", args=[ids.public("cus", customer_id)])
        when = f"empties in ≈ {_hours(left / pace)} at this rate" if left > 0 else ""
        yield Need(
            key=f"wallet:{wallet_id}",
            tone="warn" if left > 0 else "bad",
            title=f"The wallet of {name} {when or 'is empty'}",
            text=f"{display(left, currency)} left;"
            f" {display(pace, currency)} were used in the last hour.",
            actions=(
                ("Open wallet", f"{url}?tab=wallet"),
                ("Top up", f"{url}/top-up"),
            ),
        )


def _hours(hours: Decimal) -> str:
    if hours < 1:
        return f"{max(int(hours * 60), 1)} min"
    return f"{hours:.0f} h"


def margins(tenant: Tenant, now: dt.datetime) -> Iterator[Need]:
    """Find customers that earn less than the floor this month, or cost money.

    Usage alone chooses who is looked at, fees included decides.
    """
    span = figures.month_to_date(now)
    sums = (
        UsageRollup.objects.filter(hour__gte=span.start, hour__lt=span.end)
        .order_by()
        .values("customer_id")
        .annotate(cost=Sum("cost"), revenue=Sum("revenue"))
        .filter(cost__gte=COST_MIN)
    )
    thin = [
        row["customer_id"]
        for row in sums
        if row["revenue"] - row["cost"] < FLOOR * row["revenue"]
    ][:CANDIDATES_MAX]
    if not thin:
        return
    exact = figures.of_customers(span, thin)
    for customer in Customer.objects.filter(pk__in=thin).order_by("name"):
        seen = exact[customer.pk].get(customer.currency, Figures(customer.currency))
        ratio, margin = seen.margin_ratio, seen.margin
        is_thin = ratio is not None and ratio < FLOOR
        if not is_thin and not (ratio is None and margin is not None and margin < 0):
            continue
        loss = margin is not None and margin < ZERO
        shown = "nothing earned" if ratio is None else f"margin {ratio * 100:.1f} %"
        yield Need(
            key=f"margin:{customer.public_id}:{span.start:%Y-%m}",
            tone="bad" if loss else "warn",
            title=f"{customer.name}: {shown} this month",
            text=f"Below the floor of {FLOOR * 100:.0f} %, fees included.",
            since=span.start,
            actions=(
                (
                    "Why",
                    f"{reverse('cogs')}?customer={customer.public_id}&period=month",
                ),
                ("Throttle", _subject_url("throttle", customer.public_id)),
            ),
        )


def register() -> None:
    """Add these to what the control room lists."""
    needs.register("velocity", velocity)
    needs.register("wallet", wallets)
    needs.register("margin", margins)
