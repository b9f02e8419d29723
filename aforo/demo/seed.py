"""Makes the demo's tenant, catalog and customers; what is there already stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction

from aforo.core import audit
from aforo.core.models import AuditEntry, FxRate, Membership, Role, Tenant, User
from aforo.demo import cast, history, plans, specs
from aforo.demo.cast import AgentSpec, CustomerSpec
from aforo.demo.keys import Keyring
from aforo.lib import clock
from billing import accounts, credentials, subscriptions, wallets
from billing.models import Agent, Customer, Subscription
from billing.periods import month_bounds
from catalog import cost_rates, products, registry
from catalog import plans as rate_plans
from catalog.models import CostRate, Metric, Plan, PlanVersion, Product, Tool

STARTED = "demo.started"
# Costs are known since before anything was sold.
COSTS_SINCE = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
# Dollars for one euro: our costs are in dollars, some contracts in euros.
EURO = Decimal("1.08")

Say = Callable[[str], None]


def find() -> Tenant | None:
    """Return the tenant that a demo was made in, if one was."""
    made = AuditEntry.objects.filter(action=STARTED).order_by("id").first()
    return None if made is None else Tenant.objects.get(pk=made.tenant_id)


def seed(tenant: Tenant | None, keyring: Keyring, say: Say) -> Tenant:
    """Make whatever of the demo is missing, in the given tenant or in one of its own.

    Each part is one transaction, so that it may be stopped and taken up again. The
    keys that it makes are added to the keyring.
    """
    tenant = _tenant(tenant)
    owner = _owner(tenant)
    _catalog(tenant, owner)
    say(f"  products  {len(plans.PRODUCTS)} with their plans and costs")
    for external_id, spec in cast.CUSTOMERS.items():
        _customer(tenant, external_id, spec, owner, keyring)
        keyring.save()
    say(f"  customers {len(cast.CUSTOMERS)} with agents, credentials and contracts")
    keyring.ensure_service_key(tenant, owner)
    return tenant


@transaction.atomic
def _tenant(tenant: Tenant | None) -> Tenant:
    """Return the demo's tenant, with its people when it is the demo's own."""
    tenant = tenant or find()
    if tenant is None:
        tenant = Tenant.objects.create(**cast.SELLER)
        audit.record(tenant=tenant, action="tenant.created", target=tenant)
        for email, (role, name) in cast.STAFF.items():
            _member(tenant, email, role, name=name)
    if not AuditEntry.objects.filter(tenant=tenant, action=STARTED).exists():
        audit.record(tenant=tenant, action=STARTED, target=tenant)
    return tenant


def _member(
    tenant: Tenant,
    email: str,
    role: Role,
    *,
    name: str,
    customer: Customer | None = None,
) -> None:
    """Let somebody in with the demo's password, unless the address is in use."""
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email=email, password=cast.PASSWORD, name=name)
    Membership.objects.get_or_create(
        tenant=tenant,
        user=user,
        defaults={"role": role, "customer_id": customer and customer.pk},
    )


def _owner(tenant: Tenant) -> User | None:
    """Return who does all this, as the audit says it."""
    found = (
        Membership.objects.filter(tenant=tenant, role=Role.OWNER, is_active=True)
        .select_related("user")
        .first()
    )
    return None if found is None else found.user


def logins(tenant: Tenant) -> list[dict[str, str]]:
    """Return the people of the demo who may sign in, with their password."""
    addresses = [*cast.STAFF, *(c.developer for c in cast.CUSTOMERS.values())]
    members = Membership.objects.filter(
        tenant=tenant, user__email__in=addresses, is_active=True
    ).select_related("user")
    order = [role.value for role in Role]
    return [
        {"role": m.get_role_display(), "email": m.user.email, "password": cast.PASSWORD}
        for m in sorted(members, key=lambda m: (order.index(m.role), m.user.email))
    ]


@transaction.atomic
def _catalog(tenant: Tenant, actor: User | None) -> None:
    """Make metrics, products, tools, published plans and cost rates."""
    for code, metric in specs.METRICS.items():
        if not Metric.objects.filter(tenant=tenant, code=code).exists():
            products.create_metric(
                tenant=tenant,
                code=code,
                name=metric.name,
                aggregation=metric.aggregation,
                unit=metric.unit,
                field=metric.field,
                event_types=metric.event_types,
                actor=actor,
            )
    for code, spec in plans.PRODUCTS.items():
        product = Product.objects.filter(tenant=tenant, code=code).first()
        if product is None:
            product = products.create_product(
                tenant=tenant,
                name=spec.name,
                code=code,
                type=spec.type,
                description=spec.description,
                actor=actor,
            )
        for name in spec.tools:
            if not Tool.objects.filter(product=product, name=name).exists():
                registry.add_tool(product=product, name=name, actor=actor)
        for plan_code, plan in spec.plans.items():
            _plan(product, plan_code, plan, actor)
    _costs(tenant, actor)


def _plan(
    product: Product, code: str, spec: specs.PlanSpec, actor: User | None
) -> None:
    """Make a plan with its first version published."""
    if Plan.objects.filter(tenant_id=product.tenant_id, code=code).exists():
        return
    plan = rate_plans.create_plan(
        product=product, name=spec.name, code=code, actor=actor
    )
    first, _ = month_bounds(clock.now() - history.LENGTH, ZoneInfo("UTC"))
    terms = spec.terms(first.date()) if spec.terms else {}
    draft = rate_plans.save_draft(
        plan=plan,
        body={"currency": "USD", "charges": list(spec.charges), **terms},
        limits=spec.limits,
        actor=actor,
    )
    rate_plans.publish(version=draft, actor=actor)


def _costs(tenant: Tenant, actor: User | None) -> None:
    """Say what models, tools and other calls cost the seller, and what a euro is."""
    if not FxRate.objects.filter(tenant=tenant, base="EUR", quote="USD").exists():
        FxRate.objects.create(
            tenant=tenant, base="EUR", quote="USD", rate=EURO, valid_from=COSTS_SINCE
        )
    cost_rates.import_library(plans.MODELS, COSTS_SINCE)
    calls = {
        **{
            ("tool", tool): cost
            for product in plans.PRODUCTS.values()
            for tool, cost in product.tools.items()
        },
        **{("event", kind): cost for kind, cost in plans.EVENT_COSTS.items()},
    }
    _price_change(tenant, actor)
    for (provider, name), cost in calls.items():
        cost_rates.add_rate(
            tenant=tenant,
            provider=provider,
            model=name,
            unit=f"{provider}.call",
            amount=Decimal(cost),
            currency="USD",
            valid_from=COSTS_SINCE,
            actor=actor,
        )


def _price_change(tenant: Tenant, actor: User | None) -> None:
    """Let a contract change what a model costs in the middle of a month."""
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    middle = today.replace(day=15)
    if today.day < 15:
        middle = (today.replace(day=1) - dt.timedelta(days=1)).replace(day=15)
    for unit, price in plans.CONTRACT_PRICE.items():
        cost_rates.add_rate(
            tenant=tenant,
            provider="groq",
            model=plans.GROQ_LLAMA,
            unit=unit,
            amount=Decimal(price),
            per=1_000_000,
            currency="USD",
            valid_from=middle,
            actor=actor,
            source=CostRate.Source.CONTRACT,
        )


@transaction.atomic
def _customer(
    tenant: Tenant,
    external_id: str,
    spec: CustomerSpec,
    actor: User | None,
    keyring: Keyring,
) -> None:
    """Make a customer with teams, agents, credentials, contracts and credit.

    Its contracts begin with the month of the history's first day.
    """
    customer = Customer.objects.filter(tenant=tenant, external_id=external_id).first()
    if customer is not None:
        return
    customer = accounts.create_customer(
        tenant=tenant,
        name=spec.name,
        external_id=external_id,
        legal_name=spec.legal_name,
        address=spec.address,
        country=spec.country,
        tax_id=spec.tax_id,
        email=f"accounts@{external_id}.example",
        segment=spec.segment,
        currency=spec.currency,
        timezone=spec.timezone,
        tax_rate=spec.tax_rate,
        spend_cap=spec.spend_cap,
        actor=actor,
    )
    customer.account_manager = actor
    customer.save(update_fields=["account_manager"])
    history.hold_invoices(customer)
    for agent_id, agent in spec.agents.items():
        _agent(customer, agent_id, agent, actor, keyring)
    for number, amount in enumerate(spec.credit, start=1):
        wallets.top_up(
            customer=customer,
            currency=spec.currency,
            amount=amount,
            title=f"Prepayment {number}",
            actor=actor,
        )
    _subscribe(customer, spec, actor)
    if spec.developer:
        _member(
            tenant,
            spec.developer,
            Role.DEVELOPER,
            name=f"Developer at {spec.name}",
            customer=customer,
        )


def _agent(
    customer: Customer,
    external_id: str,
    spec: AgentSpec,
    actor: User | None,
    keyring: Keyring,
) -> None:
    """Make an app or agent in its team, and its credential."""
    team = customer.teams.filter(name=spec.team).first()
    if team is None:
        team = accounts.create_team(customer=customer, name=spec.team, actor=actor)
    reached = list(
        Product.objects.filter(tenant_id=customer.tenant_id, code__in=spec.products)
    )
    bearer = all(product.uses_bearer for product in reached)
    agent = accounts.create_agent(
        team=team,
        name=spec.name,
        kind=Agent.Kind.APP if bearer else Agent.Kind.AGENT,
        agent_type=spec.kind,
        external_id=external_id,
        purpose=spec.purpose,
        actor=actor,
    )
    credential, secret = credentials.issue(agent=agent, products=reached, actor=actor)
    keyring.add_agent(external_id, credential.client_id, secret)


def _subscribe(customer: Customer, spec: CustomerSpec, actor: User | None) -> None:
    """Make the contracts of a customer and its agents, from before the history."""
    zone = ZoneInfo(customer.timezone)
    start, _ = month_bounds(clock.now() - history.LENGTH, zone)
    for product_code, plan_code in spec.plans.items():
        version = _version(customer, product_code, plan_code)
        if not Subscription.objects.filter(
            customer=customer, product=version.plan.product
        ).exists():
            own = spec.own.get(product_code)
            subscriptions.subscribe(
                customer=customer,
                product=version.plan.product,
                plan_version=version,
                start_at=start,
                overrides={"charges": own} if own else None,
                actor=actor,
            )
    for agent_id, part in spec.allocations.items():
        version = _version(customer, part.product, part.plan)
        subscriptions.subscribe(
            customer=customer,
            product=version.plan.product,
            plan_version=version,
            start_at=start,
            agent=Agent.objects.get(customer=customer, external_id=agent_id),
            commitment={"amount": part.calls, "price": part.price},
            actor=actor,
        )


def _version(customer: Customer, product_code: str, plan_code: str) -> PlanVersion:
    """Return the published version of a plan of a product."""
    return PlanVersion.objects.select_related("plan__product").get(
        plan__tenant_id=customer.tenant_id,
        plan__product__code=product_code,
        plan__code=plan_code,
        state=PlanVersion.State.PUBLISHED,
    )
