"""Who is limited now: from the doors' last reports, each asked again of the edge."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.urls import reverse

from aforo.core.models import AuditEntry, Tenant
from aforo.lib import ids, money
from billing import agent_caps
from billing.models import Agent, BillingPeriod, Credential, Customer
from guard import overrides, rehearsing, wording
from guard.engine.decision import Decision as Judged
from guard.engine.decision import Limit, Outcome, Reason
from guard.models import Decision, Override

READ_MAX: Final = 5_000  # reports that are looked at
SHOWN_MAX: Final = 50
CAPPED_MAX: Final = 1_000  # agents with a cap that are compared with it
# States that a person or a cap sets; other refusals before the limits limit nobody.
STOPPED: Final = (Reason.AGENT_PAUSED, Reason.CUSTOMER_SUSPENDED)
CAPS: Final = (Reason.SPEND_CAP_AGENT, Reason.SPEND_CAP_TEAM)

SUBJECTS = """
WITH latest AS (
  SELECT id, customer_id, agent_id, reason_code, decision, observed, decided_at
  FROM guard_decision
  WHERE id >= %(since)s AND customer_id IS NOT NULL AND reason_code <> ''
  ORDER BY id DESC LIMIT %(most)s)
SELECT (array_agg(id ORDER BY id DESC))[1], min(decided_at), count(*)
FROM latest GROUP BY customer_id, agent_id, reason_code, decision, observed
ORDER BY 1 DESC LIMIT %(shown)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """One subject under one limit."""

    state: str  # deny, throttle, warn, observed or paused
    customer: Customer
    agent: Agent | None
    code: str  # the reason code
    words: str
    since: dt.datetime | None
    used: str = ""  # $25.00 of $25.00
    count: int = 0  # calls in 24 hours, of the reports that were read
    resets: str = ""  # in 5 h 12 min
    decision_id: str = ""  # the last one
    verified: bool = True  # The edge says so now; else it was so when last heard.

    @property
    def subject_id(self) -> str:
        """Whom deeds are done to: the agent, else the customer."""
        return (self.agent or self.customer).public_id

    @property
    def is_capped(self) -> bool:
        """Whether the agent is paused by a cap of its own or of its team."""
        return self.state == "deny" and self.code in CAPS

    @property
    def may_release(self) -> bool:
        """Whether a person may lift the limit for a while."""
        return self.state == "deny" and overrides.can_lift(self.code)

    def deed(self, name: str) -> str:
        """Return the address of a deed on the subject."""
        path = reverse("guard-deed", args=[self.subject_id, name])
        return f"{path}?customer={self.customer.public_id}&limit={self.code}"

    @property
    def release_url(self) -> str:
        """Where the limit is lifted."""
        return self.deed("release")

    @property
    def throttle_url(self) -> str:
        """Where the subject is slowed."""
        return self.deed("throttle")

    @property
    def block_url(self) -> str:
        """Where the subject is stopped."""
        return self.deed("block")

    @property
    def unblock_url(self) -> str:
        """Where a stopped subject runs again."""
        return self.deed("unblock")

    @property
    def snooze_url(self) -> str:
        """Where a warning is put off."""
        return f"{reverse('guard-snooze')}?key={self.key}"

    @property
    def key(self) -> str:
        """What a snooze goes by."""
        return f"limit:{self.subject_id}:{self.code}"


def figures(limit: Limit | None, currency: str) -> str:
    """Return what is used of a limit, as the answer to the caller says it."""
    if limit is None:
        return ""
    used, most = (wording.amount(limit, n, currency) for n in (limit.used, limit.limit))
    return f"{used} of {most}"


def resets_in(limit: Limit | None, now_ms: int) -> str:
    """Return the time until a limit resets; empty where it does not by itself."""
    if limit is None or limit.reset_at_ms <= now_ms:
        return ""
    return wording.span(max(1, (limit.reset_at_ms - now_ms + 999) // 1000))


def stored_limit(decision: Decision) -> Limit | None:
    """Return the limit that a stored decision names."""
    named = [one for one in decision.checks if one["name"] == decision.reason_code]
    full = [one for one in named if one["used"] >= one["limit"]]
    for one in full or named:
        return Limit(
            one["name"],
            one["unit"],
            one["limit"],
            one["used"],
            one.get("reset_at_ms", 0),
        )
    return None


def _asked(
    rows: Sequence[Decision], customers: Mapping[uuid.UUID, Customer], tenant: Tenant
) -> list[Judged | None]:
    """Ask the edge each decision's question again; one round trip."""
    digests = dict(
        Credential.objects.filter(
            pk__in=[row.credential_id for row in rows if row.credential_id]
        ).values_list("pk", "digest")
    )
    return rehearsing.ask(
        [
            rehearsing.again(
                row,
                customers[row.customer_id].tag,
                tenant.public_id,
                digest=digests.get(row.credential_id or row.pk, ""),
            )
            for row in rows
            if row.customer_id is not None
        ]
    )


def _state(row: Decision, now: Judged | None) -> tuple[str, str, Limit | None]:
    """Return state, reason code and limit: the edge's word, else the report's."""
    if now is None:
        state = "observed" if row.observed else "warn" if row.warned else row.decision
        return state, row.reason_code, stored_limit(row)
    if now.would_reason:
        seen = [one for one in now.limits if one.name == now.would_reason]
        return "observed", now.would_reason.value, next(iter(seen), None)
    if now.reason is not None:
        state = "paused" if now.reason in STOPPED else now.outcome.value
        return state, now.reason.value, now.binding
    if now.nearly is not None:
        return "warn", now.nearly.name, now.nearly
    return "", "", None


def _is_limit(code: str) -> bool:
    """Tell whether a reason limits a subject, rather than one malformed call."""
    try:
        reason = Reason(code)
    except ValueError:
        return False
    return reason in STOPPED or wording.WORDINGS[reason].status in (200, 429)


def _paused(seen: Iterable[uuid.UUID]) -> list[Limited]:
    """Return the agents that somebody paused and that no report named."""
    rows = Agent.objects.filter(state=Agent.State.PAUSED).exclude(pk__in=seen)
    agents = list(rows.select_related("customer").order_by("name")[:SHOWN_MAX])
    audit = AuditEntry.objects.filter(
        action="agent.paused", object_id__in=[agent.public_id for agent in agents]
    )
    since = dict(audit.order_by("created_at").values_list("object_id", "created_at"))
    return [
        Limited(
            state="paused",
            customer=agent.customer,
            agent=agent,
            code=Reason.AGENT_PAUSED.value,
            words=wording.reason_words(Reason.AGENT_PAUSED),
            since=since.get(agent.public_id),
        )
        for agent in agents
    ]


def _capped(seen: Iterable[uuid.UUID], now: dt.datetime) -> list[Limited]:
    """Return the agents whose own cap is met and that no report named."""
    released = Override.objects.filter(
        name=Reason.SPEND_CAP_AGENT.value,
        kind=Override.Kind.RELEASE,
        ends_at__gt=now,
        ended_at=None,
        agent__isnull=False,
    )
    rows = Agent.objects.filter(spend_cap__isnull=False, state=Agent.State.ACTIVE)
    rows = rows.exclude(pk__in=seen).exclude(pk__in=released.values("agent"))
    agents = list(rows.select_related("customer").order_by("name")[:CAPPED_MAX])
    open_now = BillingPeriod.objects.filter(
        customer__in={agent.customer_id for agent in agents},
        start_at__lte=now,
        end_at__gt=now,
    )
    ends = {one.customer_id: one for one in open_now} if agents else {}
    spends = agent_caps.spent_in([one.pk for one in ends.values()])
    found = []
    for agent in agents:
        if not agent_caps.met(agent, spends):
            continue
        assert agent.spend_cap is not None, "a cap that is met is a cap"
        period, currency = ends.get(agent.customer_id), agent.customer.currency
        spent = money.display(
            max(spends.get(agent.pk, money.ZERO), money.ZERO), currency
        )
        left = int((period.end_at - now).total_seconds()) if period else 0
        found.append(
            Limited(
                state="deny",
                customer=agent.customer,
                agent=agent,
                code=Reason.SPEND_CAP_AGENT.value,
                words=wording.reason_words(Reason.SPEND_CAP_AGENT),
                since=None,
                used=f"{spent} of {money.display(agent.spend_cap, currency)}",
                resets=wording.span(max(1, left)) if period else "",
                verified=False,
            )
        )
    return found


def _limited(
    row: Decision,
    judged: Judged | None,
    customers: Mapping[uuid.UUID, Customer],
    agents: Mapping[uuid.UUID, Agent],
    group: tuple[dt.datetime, int],
    now: dt.datetime,
) -> Limited | None:
    """Return a report's subject as it is limited now; None when it is not any more."""
    state, code, limit = _state(row, judged)
    if not state or not _is_limit(code) or row.customer_id is None:
        return None
    now_ms = int(now.timestamp() * 1000)
    if judged is None and limit and 0 < limit.reset_at_ms <= now_ms:
        return None  # Its window is over, whoever can be asked.
    customer = customers[row.customer_id]
    since, count = group
    # The edge may name another limit than the report did.
    same = code == row.reason_code
    return Limited(
        state=state,
        customer=customer,
        agent=agents.get(row.agent_id) if row.agent_id else None,
        code=code,
        words=wording.reason_words(code),
        since=since if same else None,
        used=figures(limit, customer.currency),
        count=count if same and row.decision == Outcome.DENY else 0,
        resets=resets_in(limit, now_ms),
        decision_id=row.public_id,
        verified=judged is not None,
    )


def now_limited(tenant: Tenant, now: dt.datetime) -> list[Limited]:
    """Return who is limited, the worst first; ten statements and one round trip."""
    with connection.cursor() as cursor:
        cursor.execute(
            SUBJECTS,
            {
                "since": ids.oldest_since(now - dt.timedelta(days=1)),
                "most": READ_MAX,
                "shown": SHOWN_MAX,
            },
        )
        groups = {key: (since, count) for key, since, count in cursor.fetchall()}
    rows = list(Decision.objects.filter(pk__in=groups))
    rows = [row for row in rows if _is_limit(row.reason_code)]
    customers = Customer.objects.in_bulk([r.customer_id for r in rows if r.customer_id])
    agents = Agent.objects.in_bulk([r.agent_id for r in rows if r.agent_id])
    rows = [row for row in rows if row.customer_id in customers]
    found: dict[tuple[str, str], Limited] = {}
    for row, judged in zip(rows, _asked(rows, customers, tenant), strict=True):
        one = _limited(row, judged, customers, agents, groups[row.pk], now)
        if one is None:
            continue
        known = found.get((one.subject_id, one.code))
        if known is None or one.count > known.count:
            found[one.subject_id, one.code] = one
    stopped = {one.agent.pk for one in found.values() if one.agent}
    order = ("deny", "paused", "throttle", "observed", "warn")
    shown = [*found.values(), *_paused(stopped), *_capped(stopped, now)]
    return sorted(shown, key=lambda one: order.index(one.state))[:SHOWN_MAX]


def without(rows: Iterable[Limited], snoozed: set[str]) -> list[Limited]:
    """Return the rows that nobody snoozed."""
    return [row for row in rows if row.key not in snoozed]
