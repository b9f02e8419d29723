"""Customers, teams and agents as of a time: what they were, and how that changes.

Who an agent belonged to and what prices may ask about it (FACETS) is resolved as of an
event's own time. A change goes through save(): it keeps what was until now, so that
usage of the time before is attributed and priced by it whenever it is read: when it
arrives late, when it is rated again, voided or tried on another plan.
"""

from __future__ import annotations

import datetime as dt
import uuid
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import transaction

from aforo.lib import clock, sql
from aforo.lib.errors import AforoError
from billing import books
from billing.models import (
    Agent,
    AgentGrant,
    Credential,
    Customer,
    FormerFacets,
    Team,
)

# What a charge's filter may ask about an agent, in the order of COLUMNS.
FACETS = ("agent.type", "agent.tier", "team.tier", "customer.segment")
# Usage may come from so far ahead of the clock (five minutes, and the gap of clocks).
AHEAD = dt.timedelta(minutes=6)
TICK = dt.timedelta(microseconds=1)

_FORMER = """LEFT JOIN LATERAL (
  SELECT {columns} FROM billing_formerfacets f
  WHERE f.subject_id = {subject} AND f.valid_to > e.occurred_at
  ORDER BY f.valid_to LIMIT 1) {alias} ON true
"""
# For statements that read events `e`: FACETS in COLUMNS as of the event's time. The
# first is null for an event without an agent.
COLUMNS = """COALESCE(fa.agent_type, a.agent_type), COALESCE(fa.tier, a.tier),
  COALESCE(ft.tier, t.tier), COALESCE(fc.segment, c.segment)"""
JOINS = f"""
JOIN billing_customer c ON c.id = e.customer_id
LEFT JOIN billing_agent a ON a.id = e.agent_id
{_FORMER.format(columns="f.agent_type, f.tier, f.team_id", subject="a.id", alias="fa")}
LEFT JOIN billing_team t ON t.id = COALESCE(fa.team_id, a.team_id)
{_FORMER.format(columns="f.tier", subject="t.id", alias="ft")}
{_FORMER.format(columns="f.segment", subject="c.id", alias="fc")}
"""  # Only constants of this module.


class AgentFacts(NamedTuple):
    """What charges may ask about an agent."""

    kind: str
    tier: str
    team_tier: str


@dataclass(frozen=True, slots=True)
class Course:
    """What held over time: `former[i]` until `ends[i]`, after the last end `now`."""

    now: Any
    ends: tuple[dt.datetime, ...] = ()  # Rising.
    former: tuple[Any, ...] = ()

    def at(self, instant: dt.datetime) -> Any:
        """Return what held at an instant; an end belongs to what came after it."""
        if not self.ends or instant >= self.ends[-1]:
            return self.now
        return self.former[bisect_right(self.ends, instant)]


def course(now: Any, former: Iterable[tuple[Any, str]] | None) -> Course:
    """Return a course from what holds now and pairs of what held and until when."""
    pairs = [(dt.datetime.fromisoformat(end), what) for what, end in former or ()]
    return Course(now, tuple(end for end, _ in pairs), tuple(what for _, what in pairs))


AGENTS = """
SELECT a.id, json_build_array(a.agent_type, a.tier, a.team_id),
  (SELECT json_agg(json_build_array(
      json_build_array(f.agent_type, f.tier, f.team_id), f.valid_to)
    ORDER BY f.valid_to)
   FROM billing_formerfacets f WHERE f.subject_id = a.id)
FROM billing_agent a WHERE a.id = ANY(%b)
"""
TEAMS = """
SELECT t.id, t.tier, (SELECT json_agg(json_build_array(f.tier, f.valid_to)
    ORDER BY f.valid_to)
  FROM billing_formerfacets f WHERE f.subject_id = t.id)
FROM billing_team t WHERE t.id = ANY(%b)
"""
SEGMENTS = """
SELECT c.id, c.segment, (SELECT json_agg(json_build_array(f.segment, f.valid_to)
    ORDER BY f.valid_to)
  FROM billing_formerfacets f WHERE f.subject_id = c.id)
FROM billing_customer c WHERE c.id = ANY(%b)
"""


def agents(wanted: Collection[uuid.UUID]) -> dict[uuid.UUID, Course]:
    """Return the AgentFacts of agents over time; two statements."""
    with sql.cursor() as cursor:
        own = {
            key: course(now, former)
            for key, now, former in cursor.execute(AGENTS, [list(wanted)]).fetchall()
        }
        in_teams = {
            uuid.UUID(team)
            for found in own.values()
            for _, _, team in (found.now, *found.former)
        }
        teams = {
            key: course(tier, former)
            for key, tier, former in cursor.execute(TEAMS, [list(in_teams)]).fetchall()
        }
    return {key: _with_teams(found, teams) for key, found in own.items()}


def _with_teams(own: Course, teams: Mapping[uuid.UUID, Course]) -> Course:
    """Return an agent's facts over time, its teams' tiers of those times included."""

    def facts(held: Sequence[str], at: dt.datetime | None) -> AgentFacts:
        kind, tier, team = held
        of_team = teams[uuid.UUID(team)]
        return AgentFacts(kind, tier, of_team.now if at is None else of_team.at(at))

    of_teams = (teams[uuid.UUID(held[2])] for held in (own.now, *own.former))
    ends = sorted({*own.ends, *(end for team in of_teams for end in team.ends)})
    # Just before an end, what ended there still held.
    return Course(
        facts(own.now, None),
        tuple(ends),
        tuple(facts(own.at(end - TICK), end - TICK) for end in ends),
    )


def segments(wanted: Collection[uuid.UUID]) -> dict[uuid.UUID, Course]:
    """Return the segments of customers over time; one statement."""
    with sql.cursor() as cursor:
        rows = cursor.execute(SEGMENTS, [list(wanted)]).fetchall()
    return {key: course(now, former) for key, now, former in rows}


def facets(facts: AgentFacts, segment: str) -> dict[str, str]:
    """Return the properties that FACETS name."""
    return dict(zip(FACETS, (*facts, segment), strict=True))


Subject = Customer | Team | Agent
_KINDS: dict[type[Subject], tuple[FormerFacets.Kind, tuple[str, ...]]] = {
    Customer: (FormerFacets.Kind.CUSTOMER, ("segment",)),
    Team: (FormerFacets.Kind.TEAM, ("tier",)),
    Agent: (FormerFacets.Kind.AGENT, ("agent_type", "tier", "team_id")),
}


@transaction.atomic
def save(row: Subject) -> None:
    """Store a changed customer, team or agent; what it was holds for earlier usage.

    The books of all whose usage it bears on are locked first, so every event is rated
    wholly before the change or wholly after it. It counts from now on, or from just
    after the latest usage that was priced ahead of the clock: nothing that was rated
    gets another answer. Idempotent: what did not change leaves no trace. Raises
    AforoError 422 `other_customer` for a team of another customer.
    """
    kind, names = _KINDS[type(row)]
    customers = sorted(_touched(row))
    books.lock(customers)
    books.configure(customers)
    held = type(row)._default_manager.select_for_update().get(pk=row.pk)
    if isinstance(row, Agent) and row.team.customer_id != row.customer_id:
        raise AforoError(
            "other_customer",
            422,
            f"{row.team} is a team of another customer.",
            field="team",
        )
    before = {name: getattr(held, name) for name in names}
    if before != {name: getattr(row, name) for name in names}:
        at = _from_when(customers, row)
        last = FormerFacets.objects.filter(subject_id=row.pk).first()
        FormerFacets.objects.create(
            tenant_id=row.tenant_id,
            customer_id=row.pk if isinstance(row, Customer) else row.customer_id,
            kind=kind,
            subject_id=row.pk,
            valid_from=last.valid_to if last else None,
            valid_to=max(at, last.valid_to + TICK) if last else at,
            **before,
        )
    row.save()


def _touched(row: Subject) -> Iterator[uuid.UUID]:
    """Yield the customers whose usage an agent, a team or a customer bears on."""
    if isinstance(row, Customer):
        yield row.pk
        return
    yield row.customer_id
    of = {"agent": row} if isinstance(row, Agent) else {"agent__team": row}
    for model in (AgentGrant, Credential):
        yield from model.objects.filter(**of).values_list("customer_id", flat=True)


LATEST = """
SELECT max(l.occurred_at) FROM unnest(%b::uuid[]) AS k (customer_id)
CROSS JOIN LATERAL (
  SELECT COALESCE((SELECT b.version FROM billing_ledgerbatch b
    WHERE b.customer_id = k.customer_id AND b.created_at < %b
    ORDER BY b.version DESC LIMIT 1), 0) AS version
) AS before
JOIN billing_ledgerentry l ON l.customer_id = k.customer_id
  AND l.version > before.version AND l.occurred_at >= %b
  AND l.event_id IS NOT NULL AND (%b::uuid IS NULL OR l.agent_id = %b)
"""


def _from_when(customers: Sequence[uuid.UUID], row: Subject) -> dt.datetime:
    """Return from when a change counts; the books are locked.

    Usage may be dated some minutes ahead. What of it is rated was priced by what held
    until now, and stays so.
    """
    now = clock.now()
    agent = row.pk if isinstance(row, Agent) else None
    with sql.cursor() as cursor:
        found = cursor.execute(
            LATEST, [list(customers), now - AHEAD, now, agent, agent]
        ).fetchone()
    latest = found[0] if found else None
    return now if latest is None else max(now, latest + TICK)
