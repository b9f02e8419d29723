"""Customers, their teams, apps and agents: made, suspended, paused, capped."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import IntegrityError, models, transaction

from aforo.core import audit
from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES, PLACES, ZERO, plain
from billing import books
from billing.models import Agent, Customer, CustomerBooks, Team
from billing.signals import restricting

# Caps are compared in millionths, which the edge holds exactly up to 2^53.
CAP_MAX = Decimal(9_000_000_000)


def check_zone(timezone: str) -> None:
    """Refuse a name that is no time zone: AforoError 422 `unknown_timezone`."""
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise AforoError(
            "unknown_timezone", 422, f"{timezone!r} is no time zone.", field="timezone"
        ) from error


def check_cap(amount: Decimal | None) -> None:
    """Refuse a cap that the edge could not keep: AforoError 422 `invalid_cap`."""
    if amount is None:
        return
    exponent = amount.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or not ZERO <= amount <= CAP_MAX
        or exponent < -PLACES
    ):
        raise AforoError(
            "invalid_cap",
            422,
            f"A cap is from 0 to {CAP_MAX:,} with at most 12 places, or none.",
            field="spend_cap",
        )


def _taken(error: IntegrityError, name: str) -> AforoError:
    """Return the refusal of a name or external id that another row has."""
    field = "external_id" if "external_id" in str(error) else "name"
    detail = f"{name}: this {field} is taken."
    return AforoError("already_exists", 422, detail, field=field)


@transaction.atomic
def create_customer(
    *,
    tenant: Tenant,
    name: str,
    actor: User | None,
    currency: str | None = None,
    timezone: str | None = None,
    external_id: str = "",
    legal_name: str = "",
    address: str = "",
    country: str = "",
    tax_id: str = "",
    email: str = "",
    segment: str = "",
    tax_rate: Decimal | None = None,
    spend_cap: Decimal | None = None,
) -> Customer:
    """Add who pays, with books; currency and zone are the tenant's unless given.

    Raises AforoError 422 `unknown_currency`, `unknown_timezone`, `invalid_cap` or
    `already_exists`.
    """
    currency = currency or tenant.currency
    timezone = timezone or tenant.timezone
    if currency not in CURRENCIES:
        raise AforoError(
            "unknown_currency", 422, f"{currency} is no currency.", field="currency"
        )
    check_zone(timezone)
    check_cap(spend_cap)
    try:
        with transaction.atomic():
            customer = Customer.objects.create(
                tenant=tenant,
                name=name,
                external_id=external_id,
                legal_name=legal_name,
                address=address,
                country=country,
                tax_id=tax_id,
                email=email,
                segment=segment,
                currency=currency,
                timezone=timezone,
                tax_rate=tax_rate,
                spend_cap=spend_cap,
            )
    except IntegrityError as error:
        raise _taken(error, name) from error
    CustomerBooks.objects.create(customer=customer, tenant=tenant)
    audit.record(
        tenant=tenant,
        actor=actor,
        action="customer.created",
        target=customer,
        changes={"currency": [None, currency], "timezone": [None, timezone]},
    )
    books.configure([customer.pk])
    return customer


@transaction.atomic
def create_team(
    *,
    customer: Customer,
    name: str,
    actor: User | None,
    external_id: str = "",
    tier: str = "",
) -> Team:
    """Add a team of a customer; AforoError 422 `already_exists`."""
    try:
        with transaction.atomic():
            team = Team.objects.create(
                tenant_id=customer.tenant_id,
                customer=customer,
                name=name,
                external_id=external_id,
                tier=tier,
            )
    except IntegrityError as error:
        raise _taken(error, name) from error
    audit.record(
        tenant=customer.tenant_id,
        actor=actor,
        action="team.created",
        target=team,
        changes={"customer": [None, customer.name]},
    )
    books.configure([customer.pk])
    return team


@transaction.atomic
def create_agent(
    *,
    team: Team,
    name: str,
    kind: Agent.Kind,
    actor: User | None,
    agent_type: Agent.AgentType = Agent.AgentType.CUSTOM,
    external_id: str = "",
    purpose: str = "",
    tier: str = "",
) -> Agent:
    """Add an app or an agent, owned by a team; AforoError 422 `already_exists`."""
    try:
        with transaction.atomic():
            agent = Agent.objects.create(
                tenant_id=team.tenant_id,
                customer_id=team.customer_id,
                team=team,
                kind=kind,
                agent_type=agent_type,
                name=name,
                external_id=external_id,
                purpose=purpose,
                tier=tier,
            )
    except IntegrityError as error:
        raise _taken(error, name) from error
    audit.record(
        tenant=team.tenant_id,
        actor=actor,
        action="agent.created",
        target=agent,
        changes={"kind": [None, agent.kind], "team": [None, team.name]},
    )
    books.configure([team.customer_id])
    return agent


def suspend_customer(
    *, customer: Customer, actor: User | None, reason: str = ""
) -> Customer:
    """Refuse every call of the customer; 409 `wrong_state` if that is so already."""
    changed = _set_state(
        customer,
        before=Customer.State.ACTIVE,
        after=Customer.State.SUSPENDED,
        customer=customer,
        action="customer.suspended",
        actor=actor,
        reason=reason,
        restrict={"suspended": True},
    )
    assert isinstance(changed, Customer)
    return changed


def reactivate_customer(
    *, customer: Customer, actor: User | None, reason: str = ""
) -> Customer:
    """Let the customer's calls pass again; 409 `wrong_state` if they do."""
    changed = _set_state(
        customer,
        before=Customer.State.SUSPENDED,
        after=Customer.State.ACTIVE,
        customer=customer,
        action="customer.reactivated",
        actor=actor,
        reason=reason,
    )
    assert isinstance(changed, Customer)
    return changed


def pause_agent(*, agent: Agent, actor: User | None, reason: str = "") -> Agent:
    """Refuse every call of an agent; 409 `wrong_state` if that is so already."""
    changed = _set_state(
        agent,
        before=Agent.State.ACTIVE,
        after=Agent.State.PAUSED,
        customer=agent.customer,
        action="agent.paused",
        actor=actor,
        reason=reason,
        restrict={"agent_id": agent.pk},
    )
    assert isinstance(changed, Agent)
    return changed


def resume_agent(*, agent: Agent, actor: User | None, reason: str = "") -> Agent:
    """Let a paused agent's calls pass again; 409 `wrong_state` if they do."""
    changed = _set_state(
        agent,
        before=Agent.State.PAUSED,
        after=Agent.State.ACTIVE,
        customer=agent.customer,
        action="agent.resumed",
        actor=actor,
        reason=reason,
    )
    assert isinstance(changed, Agent)
    return changed


@transaction.atomic
def _set_state(
    target: Customer | Agent,
    *,
    before: models.TextChoices,
    after: models.TextChoices,
    customer: Customer,
    action: str,
    actor: User | None,
    reason: str,
    restrict: dict[str, object] | None = None,
) -> Customer | Agent:
    """Move a customer or agent from one state to another, once.

    The books come first in the order of locks; what is forbidden reaches the edge
    before the commit, what is allowed after it.
    """
    books.configure([customer.pk])
    moved = (
        type(target)
        .objects.filter(pk=target.pk, state=before.value)
        .update(state=after.value)
    )
    target.refresh_from_db()
    if not moved:
        raise AforoError("wrong_state", 409, f"{target} is {target.state}.")
    audit.record(
        tenant=target.tenant_id,
        actor=actor,
        action=action,
        target=target,
        changes={"state": [before.value, after.value]},
        reason=reason,
    )
    if isinstance(target, Agent):
        _tell_state(target, actor=actor, reason=reason)
    if restrict:
        restricting.send(sender=None, customer_id=customer.pk, **restrict)
    return target


def _tell_state(agent: Agent, *, actor: User | None, reason: str) -> None:
    """Tell that an agent was paused, or runs again; each time it happens."""
    is_paused = agent.state == Agent.State.PAUSED
    word = "is paused" if is_paused else "runs again"
    by = f" by {actor}" if actor else ""
    tell(
        Kind.AGENT,
        tenant=agent.tenant_id,
        scope=agent.public_id,
        severity=Severity.BLOCK if is_paused else Severity.OK,
        text=f"{agent} of {agent.customer} {word}{by}"
        + (f": {reason}" if reason else ""),
        key=clock.now().isoformat(),
        figures={"agent": str(agent), "reason": reason},
        customer_id=agent.customer_id,
        url=f"/customers/{agent.customer.public_id}/hierarchy",
    )


@transaction.atomic
def set_spend_cap(
    *,
    customer: Customer,
    amount: Decimal | None,
    actor: User | None,
    reason: str = "",
) -> Customer:
    """Limit what may be rated in a period; None: no limit.

    A lower cap reaches the edge before the commit. Raises AforoError 422
    `invalid_cap`.
    """
    check_cap(amount)
    books.configure([customer.pk])
    customer = Customer.objects.select_for_update().get(pk=customer.pk)
    before = customer.spend_cap
    customer.spend_cap = amount
    customer.save(update_fields=["spend_cap"])
    audit.record(
        tenant=customer.tenant_id,
        actor=actor,
        action="customer.spend_cap_set",
        target=customer,
        changes={
            "spend_cap": [
                None if before is None else plain(before),
                None if amount is None else plain(amount),
            ]
        },
        reason=reason,
    )
    if amount is not None and (before is None or amount < before):
        restricting.send(sender=None, customer_id=customer.pk, spend_cap=amount)
    return customer
