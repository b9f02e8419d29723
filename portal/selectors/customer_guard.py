"""What the guard decided on a customer since 00:00 UTC, and where to read each."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.db.models import Count
from django.urls import reverse

from aforo.lib import ids
from billing.models import Customer
from guard.models import Decision
from guard.wording import reason_words

DENY, THROTTLE = "deny", "throttle"
# How far the clocks of doors may be from one another.
CLOCKS_APART = dt.timedelta(hours=1)
# Stands for "of any agent" in an address.
ANY = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Why:
    """How many calls one reason stopped or slowed, and where they are listed."""

    decision: str  # deny or throttle
    words: str
    count: int
    url: str


@dataclass(slots=True)
class Counted:
    """Decisions that were no plain yes; plain ones are counted by tenant alone."""

    denied: int = 0
    throttled: int = 0
    degraded: int = 0
    url: str = ""  # All of them.
    reasons: list[Why] = field(default_factory=list)  # The most frequent first.

    @property
    def any(self) -> bool:
        """Whether there was a decision at all."""
        return bool(self.denied or self.throttled or self.degraded)


def decisions_url(
    customer: Customer, day: dt.datetime, *, agent: uuid.UUID | None = ANY, **more: str
) -> str:
    """Return the list of a customer's decisions on a day.

    `agent` None means those that name no agent; `more` are further columns.
    """
    query = {
        "customer_id": str(customer.pk),
        "decided_at__year": f"{day:%Y}",
        "decided_at__month": f"{day:%-m}",
        "decided_at__day": f"{day:%-d}",
        **more,
    }
    if agent is None:
        query["agent_id__isnull"] = "True"
    elif agent != ANY:
        query["agent_id"] = str(agent)
    return f"{reverse('admin:guard_decision_changelist')}?{urlencode(query)}"


AgentId = uuid.UUID | None
Group = tuple[AgentId, str, bool, str, int]


def _count(
    groups: Iterable[Group],
    customer: Customer,
    day: dt.datetime,
    agent: uuid.UUID | None,
) -> Counted:
    """Return groups of decisions as one count."""
    found = Counted(url=decisions_url(customer, day, agent=agent))
    reasons: dict[tuple[str, str], int] = defaultdict(int)
    for _, decision, degraded, reason, count in groups:
        found.degraded += count if degraded else 0
        if decision == DENY:
            found.denied += count
        elif decision == THROTTLE:
            found.throttled += count
        else:
            continue
        reasons[decision, reason] += count
    for (decision, reason), count in sorted(reasons.items(), key=lambda r: -r[1]):
        url = decisions_url(
            customer, day, agent=agent, decision=decision, reason_code=reason
        )
        found.reasons.append(Why(decision, reason_words(reason), count, url))
    return found


def today(
    customer: Customer, now: dt.datetime
) -> tuple[Counted, dict[AgentId, Counted]]:
    """Return the decisions since 00:00 UTC, all and by agent; one statement."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = Decision.objects.filter(
        customer_id=customer.pk,
        decided_at__gte=day,
        # Ids sort by time: what a month holds is not read through.
        pk__gte=ids.oldest_since(day - CLOCKS_APART),
    )
    columns = ("agent_id", "decision", "degraded", "reason_code")
    groups: list[Group] = list(
        rows.order_by().values_list(*columns).annotate(Count("pk"))
    )
    by_agent: dict[AgentId, list[Group]] = defaultdict(list)
    for group in groups:
        by_agent[group[0]].append(group)
    return _count(groups, customer, day, ANY), {
        agent: _count(mine, customer, day, agent) for agent, mine in by_agent.items()
    }
