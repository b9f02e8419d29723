"""A customer's teams, their agents and keys, with caps and the month's spend.

Every rated hour belongs to one team and one agent, so the parts add up: a team's spend
is what was used under it, also by agents that other teams own.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Prefetch, Subquery, Sum
from django.db.models.functions import Coalesce

from aforo.lib.money import ZERO
from billing import agent_caps, periods
from billing.contracts import plans_of
from billing.models import (
    Agent,
    BillingPeriod,
    Credential,
    Customer,
    Team,
    UsageTotal,
)
from metering.models import UsageRollup
from portal import paging
from portal.keyset import Page
from portal.selectors import customers, figures
from portal.selectors.customer_guard import Counted
from portal.selectors.figures import Span

TEAMS_MAX = 20  # A page.
AGENTS_MAX = 50  # Of one team on a page.
KEYS_MAX = 8  # Of one agent, the newest.
OTHERS_MAX = 10

Pair = tuple[uuid.UUID | None, uuid.UUID | None]  # Team and agent.


@dataclass(frozen=True, slots=True)
class Spent:
    """What was rated, of how many events, and how many of them have a price."""

    amount: Decimal = ZERO
    events: int = 0
    rated: int = 0

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(
            self.amount + other.amount,
            self.events + other.events,
            self.rated + other.rated,
        )

    @property
    def known(self) -> Decimal | None:
        """The amount; None when nothing was rated."""
        return self.amount if self.amount or self.rated > 0 else None

    @property
    def why_unknown(self) -> str:
        """Why the amount may be a dash."""
        return figures.Figures("", event_count=self.events).why_no_revenue


NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that may be rated in a billing period, and what was."""

    label: str
    limit: Decimal
    used: Decimal
    currency: str
    note: str
    agent_id: uuid.UUID | None = None  # Whose alone it is.
    subscription: str = ""  # The public id of the contract that says it.


@dataclass(frozen=True, slots=True)
class AgentNode:
    """One agent of a team, with its keys."""

    agent: Agent
    spent: Spent
    keys: list[Credential]
    keys_hidden: int
    caps: list[Cap]
    guard: Counted | None
    paused_by: str = ""  # Whose cap is met: the agent or its team.


@dataclass(frozen=True, slots=True)
class Other:
    """Spend under a team that no agent of its own made."""

    label: str
    note: str
    spent: Spent


@dataclass(slots=True)
class TeamNode:
    """One team with its agents."""

    team: Team
    agents: list[AgentNode]
    agents_hidden: int
    spent: Spent
    others: list[Other] = field(default_factory=list)
    caps: list[Cap] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """A page of teams, and how the whole customer's spend is made up."""

    teams: list[TeamNode]
    page: Page[Team]
    team_count: int
    in_teams: Spent  # Of all teams, also those on other pages.
    elsewhere: Spent  # Usage that names no team of the customer.
    fees: Decimal
    figure: Decimal  # The customer's own revenue figure of the month.
    lent: list[Credential]  # Keys that it pays for, of other customers' agents.

    @property
    def total(self) -> Decimal:
        """The sum of the parts."""
        return self.in_teams.amount + self.elsewhere.amount + self.fees

    @property
    def whole(self) -> Spent:
        """The total as spend, which knows whether anything was rated."""
        return self.in_teams + self.elsewhere + Spent(self.fees)

    @property
    def agrees(self) -> bool:
        """Whether the parts sum to the customer's figure, to the last digit."""
        return self.total == self.figure


def spent_by_pair(customer: Customer, span: Span) -> dict[Pair, Spent]:
    """Return what was rated in the customer's currency by team and agent."""
    rows = UsageRollup.objects.filter(
        span.hours, customer=customer, currency=customer.currency
    )
    grouped = rows.order_by().values_list("team_id", "agent_id")
    return {
        (team, agent): Spent(amount, events, rated)
        for team, agent, amount, events, rated in grouped.annotate(
            Sum("revenue"), Sum("event_count"), Sum("rated_count")
        )
    }


def _many(rows: Any, **where: Any) -> Coalesce:
    """Return an expression that counts rows of the outer one, without a join."""
    name = next(iter(where))
    counted = rows.filter(**where).order_by().values(name).annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0)


def _teams(customer: Customer, query: Mapping[str, str]) -> Page[Any]:
    """Return a page of teams by name, each with its first agents and newest keys."""
    keys = Credential.objects.select_related("customer")
    keys = keys.order_by("-created_at", "-id")[:KEYS_MAX]
    agents = Agent.objects.annotate(
        key_count=_many(Credential.objects.all(), agent=OuterRef("pk"))
    ).prefetch_related(Prefetch("credentials", keys, to_attr="shown_keys"))
    teams = Team.objects.filter(customer=customer).annotate(
        agent_count=_many(Agent.objects.all(), team=OuterRef("pk"))
    )
    shown = agents.order_by("name", "id")[:AGENTS_MAX]
    teams = teams.prefetch_related(Prefetch("agents", shown, to_attr="shown_agents"))
    return paging.page(teams, order="name", query=query, size=TEAMS_MAX)


def tree(
    customer: Customer,
    span: Span,
    query: Mapping[str, str],
    found_caps: Iterable[Cap],
    guard: Mapping[uuid.UUID | None, Counted],
) -> Tree:
    """Return a page of the customer's hierarchy; twelve at most.

    `query` is the address (paging), `found_caps` those of `caps`, `guard` today's
    decisions by agent.
    """
    pairs = spent_by_pair(customer, span)
    own = set(Team.objects.filter(customer=customer).values_list("pk", flat=True))
    page = _teams(customer, query)
    by_agent: dict[uuid.UUID, list[Cap]] = {}
    for cap in found_caps:
        if cap.agent_id:
            by_agent.setdefault(cap.agent_id, []).append(cap)
    spends = _cap_spends(customer, page.rows, span.end)
    nodes = [_team(row, pairs, by_agent, guard, customer, spends) for row in page.rows]
    _name_others(nodes, pairs)
    sums = figures.of_customers(span, [customer.pk])[customer.pk]
    figure = sums.get(customer.currency, figures.Figures(customer.currency)).revenue
    fees = figures.fees(span.last_moment).filter(
        customer=customer, currency=customer.currency
    )
    lent = Credential.objects.filter(customer=customer).exclude(
        agent__customer=customer
    )
    lent = lent.select_related("agent__customer").order_by("-created_at", "-id")
    inside = [s for (team, _), s in pairs.items() if team in own]
    outside = [s for (team, _), s in pairs.items() if team not in own]
    return Tree(
        nodes,
        page,
        len(own),
        sum(inside, NOTHING),
        sum(outside, NOTHING),
        fees.aggregate(total=Sum("recurring"))["total"] or ZERO,
        figure,
        list(lent[:OTHERS_MAX]),
    )


def _team(
    row: Any,
    pairs: Mapping[Pair, Spent],
    by_agent: Mapping[uuid.UUID, list[Cap]],
    guard: Mapping[uuid.UUID | None, Counted],
    customer: Customer,
    spends: Mapping[uuid.UUID, Decimal],
) -> TeamNode:
    """Return a team that was read with its agents as a node."""
    agents = [
        AgentNode(
            agent,
            pairs.get((row.pk, agent.pk), NOTHING),
            agent.shown_keys,
            agent.key_count - len(agent.shown_keys),
            [*_own_cap(agent, customer, spends), *by_agent.get(agent.pk, [])],
            guard.get(agent.pk),
            "its own"
            if agent_caps.met(agent, spends)
            else "its team's"
            if agent_caps.met(row, spends)
            else "",
        )
        for agent in row.shown_agents
    ]
    spent = sum((s for (team, _), s in pairs.items() if team == row.pk), NOTHING)
    own = _own_cap(row, customer, spends)
    return TeamNode(row, agents, row.agent_count - len(agents), spent, caps=own)


def _cap_spends(
    customer: Customer, teams: Iterable[Any], now: dt.datetime
) -> Mapping[uuid.UUID, Decimal]:
    """Return what counts towards the caps of shown teams and agents."""
    shown = [one for team in teams for one in (team, *team.shown_agents)]
    if all(one.spend_cap is None for one in shown):
        return {}
    return agent_caps.spent(periods.find(customer.pk, now))


def _own_cap(
    target: Agent | Team, customer: Customer, spends: Mapping[uuid.UUID, Decimal]
) -> list[Cap]:
    """Return the cap that an agent or a team has of its own, if any."""
    if target.spend_cap is None:
        return []
    used = max(spends.get(target.pk, ZERO), ZERO)
    note = "its own, over all of its contracts"
    return [Cap(target.name, target.spend_cap, used, customer.currency, note)]


def _name_others(nodes: Iterable[TeamNode], pairs: Mapping[Pair, Spent]) -> None:
    """Add to each team what agents spent that are not listed as its own."""
    teams = {node.team.pk: node for node in nodes}
    listed = {(n.team.pk, a.agent.pk) for n in teams.values() for a in n.agents}
    rest: dict[uuid.UUID, list[tuple[uuid.UUID | None, Spent]]] = {}
    for (team, user), spent in pairs.items():
        if team in teams and (team, user) not in listed:
            rest.setdefault(team, []).append((user, spent))
    wanted = {user for found in rest.values() for user, _ in found if user}
    names = Agent.objects.select_related("team").in_bulk(wanted) if wanted else {}
    for team_id, found in rest.items():
        found.sort(key=lambda pair: -pair[1].amount)
        others = [
            _other(names.get(key) if key else None, team_id, spent)
            for key, spent in found[:OTHERS_MAX]
        ]
        if left := found[OTHERS_MAX:]:
            spent = sum((s for _, s in left), NOTHING)
            others.append(Other(f"{len(left)} more agents", "", spent))
        teams[team_id].others = others


def _other(agent: Agent | None, team_id: uuid.UUID, spent: Spent) -> Other:
    """Return spend under a team that no agent listed there made."""
    if agent is None:
        return Other("No agent named", "its calls name no agent", spent)
    own = agent.team_id == team_id
    note = "not listed above" if own else f"of team {agent.team.name}"
    return Other(agent.name, note, spent)


def caps(customer: Customer, now: dt.datetime) -> list[Cap]:
    """Return the spend caps that the guard holds for a customer; five statements.

    The customer's own, and those that its contracts' plans say; a contract of one agent
    caps that agent. Used is what was rated in the billing period under way.
    """
    period = periods.find(customer.pk, now)
    used = _used(customer, period)
    found = []
    if customer.spend_cap is not None:
        spent = sum(
            (a for (_, currency), a in used.items() if currency == customer.currency),
            ZERO,
        )
        found.append(
            Cap(
                customer.name,
                customer.spend_cap,
                spent,
                customer.currency,
                "the customer's own, over all of its contracts",
            )
        )
    contracts = []
    for row in customers.subscriptions(customer):
        snapshot = next((s for s in row.history if s.effective_from <= now), None)
        if snapshot is not None and row.state != "cancelled":
            contracts.append((row, snapshot))
    paid = plans_of(snapshot for _, snapshot in contracts)
    for row, snapshot in contracts:
        plan = paid.get(snapshot.pk)
        if plan is None:
            continue
        said = snapshot.overrides.get("limits", {})
        limit = {**plan.limits, **said}.get("spend_cap")
        if limit is None:
            continue
        found.append(
            Cap(
                row.agent.name if row.agent else row.product.name,
                Decimal(limit),
                used.get((row.pk, plan.currency), ZERO),
                plan.currency,
                f"by {snapshot.plan_version}",
                row.agent_id,
                row.public_id,
            )
        )
    return found


def _used(
    customer: Customer, period: BillingPeriod | None
) -> dict[tuple[uuid.UUID, str], Decimal]:
    """Return what was rated in a period by contract and currency."""
    rows = UsageTotal.objects.filter(customer=customer, period=period)
    grouped = rows.order_by().values_list("subscription_id", "currency")
    return {(key, code): sum_ for key, code, sum_ in grouped.annotate(Sum("spend"))}
