"""The guard's rules in force: limits of plans and of contracts, and what they did."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.db.models import Sum

from aforo.lib.money import display
from billing.models import Customer, SubscriptionSnapshot
from catalog.models import Plan, PlanVersion
from catalog.plans import load_plans
from guard import rules
from guard.engine.decision import Reason
from guard.facts import units_of
from guard.models import RuleCount

DAYS: Final = 7
LABELS: Final = {
    "requests_per_minute": "Requests a minute",
    "tokens_per_minute": "Tokens a minute",
    "spend_cap": "Spend cap a period",
    "loop.same_call": "Equal tool calls",
    "loop.retries": "Retries of a request",
    "loop.errors": "Tool errors in a row",
}
CUSTOMER_CAP: Final = "customer_cap"


@dataclass(slots=True)
class Hits:
    """What a rule did in the last seven days."""

    stopped: int = 0  # Refused or slowed.
    shadowed: int = 0  # Would have been.
    customers: set[uuid.UUID] = field(default_factory=set)
    would: set[uuid.UUID] = field(default_factory=set)  # Customers of `shadowed`.
    days: dict[dt.date, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row of sums."""
        stopped = row["denied"] + row["throttled"]
        self.stopped += stopped
        self.shadowed += row["shadowed"]
        if stopped:
            self.customers.add(row["customer_id"])
        if row["shadowed"]:
            self.would.add(row["customer_id"])
        self.days[row["hour"].astimezone(dt.UTC).date()] += stopped + row["shadowed"]


@dataclass(slots=True)
class Rule:
    """One limit of a plan, a contract or a customer."""

    id: str
    name: str  # In limits JSON, or CUSTOMER_CAP.
    label: str
    owner: str  # Whose it is, in words.
    owner_url: str
    limit: Any  # As limits JSON has it; None: not set.
    words: str
    is_shadow: bool
    code: str
    hits: Hits = field(default_factory=Hits)

    @property
    def mode(self) -> str:
        """Return how the rule is kept: off, shadow or enforce."""
        if self.limit is None:
            return "rule_off"
        return "rule_shadow" if self.is_shadow else "rule_enforce"


@dataclass(slots=True)
class Contract:
    """A contract in force with the limits that hold for it."""

    snapshot: SubscriptionSnapshot
    plan: Plan
    limits: dict[str, Any]
    own: Mapping[str, Any]
    units: Mapping[str, str]
    currency: str


def label_of(name: str) -> str:
    """Return what people call a rule."""
    if name.startswith(rules.QUOTAS):
        return f"Quota of {name.removeprefix(rules.QUOTAS)}"
    return LABELS.get(name, name)


def limit_of(limits: Mapping[str, Any], name: str) -> Any:
    """Return the limit of a rule in limits JSON; None where it is not set."""
    if name.startswith(rules.QUOTAS):
        metric = name.removeprefix(rules.QUOTAS)
        found = [q for q in limits.get("quotas") or () if q["metric"] == metric]
        return found[0]["limit"] if found else None
    if name.startswith("loop."):
        return (limits.get("loop") or {}).get(name.removeprefix("loop."))
    return limits.get(name)


def words_of(name: str, limit: Any, currency: str) -> str:
    """Return a limit as people read it."""
    if limit is None:
        return "not set"
    if name in ("spend_cap", CUSTOMER_CAP):
        return display(Decimal(limit), currency)
    if isinstance(limit, Mapping):
        seconds = f" in {limit['seconds']:,} s" if "seconds" in limit else ""
        return f"{limit['count']:,}{seconds}"
    return f"{limit:,}"


def names_in(limits: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules that limits JSON sets."""
    for name in LABELS:
        if limit_of(limits, name) is not None:
            yield name
    for quota in limits.get("quotas") or ():
        yield f"{rules.QUOTAS}{quota['metric']}"


def contracts(now: dt.datetime, **where: Any) -> list[Contract]:
    """Return the contracts that are in force."""
    rows = SubscriptionSnapshot.objects.filter(effective_from__lte=now, **where)
    latest = (
        rows.order_by("subscription_id", "-number")
        .distinct("subscription_id")
        .select_related("subscription__product", "customer", "plan_version__plan")
        .defer("plan_version__body")
    )
    live = [r for r in latest if r.plan_version and r.subscription.state != "cancelled"]
    plans = load_plans({r.plan_version_id for r in live if r.plan_version_id})
    found = []
    for row in live:
        assert row.plan_version is not None, "those that ended are left out"
        priced = plans[row.plan_version.pk]
        own = row.overrides.get("limits", {})
        found.append(
            Contract(
                row,
                row.plan_version.plan,
                rules.merged(row.plan_version.limits, own),
                own,
                units_of(priced),
                row.overrides.get("currency", priced.currency),
            )
        )
    return found


def of_contract(contract: Contract, name: str) -> Rule:
    """Return a rule as it holds for one contract."""
    row = contract.snapshot
    limit = limit_of(contract.limits, name)
    return Rule(
        f"{row.subscription.public_id}:{name}",
        name,
        label_of(name),
        f"{row.customer}, {row.subscription.product}",
        f"/customers/{row.customer.public_id}",
        limit,
        words_of(name, limit, contract.currency),
        bool(contract.limits.get("shadow", {}).get(name)),
        rules.code_of(name, contract.units) or "",
    )


def of_plan(version: PlanVersion, units: Mapping[str, str], name: str) -> Rule:
    """Return a rule as a version of a plan says it."""
    limit = limit_of(version.limits, name)
    return Rule(
        f"{version.plan.public_id}:{name}",
        name,
        label_of(name),
        f"Plan {version}",
        f"/plans/{version.plan.public_id}",
        limit,
        words_of(name, limit, version.currency),
        bool(version.limits.get("shadow", {}).get(name)),
        rules.code_of(name, units) or "",
    )


def of_customer(customer: Customer) -> Rule:
    """Return the cap of a customer over all its contracts."""
    return Rule(
        f"{customer.public_id}:{CUSTOMER_CAP}",
        CUSTOMER_CAP,
        "Spend cap of the customer",
        str(customer),
        f"/customers/{customer.public_id}",
        customer.spend_cap,
        words_of(CUSTOMER_CAP, customer.spend_cap, customer.currency),
        is_shadow=False,
        code=Reason.SPEND_CAP_CUSTOMER.value,
    )


def sold(**where: Any) -> list[PlanVersion]:
    """Return the newest published version of each plan."""
    rows = PlanVersion.objects.filter(state=PlanVersion.State.PUBLISHED, **where)
    newest = rows.order_by("plan_id", "-number").distinct("plan_id")
    return list(newest.select_related("plan").defer("body"))


def is_own(contract: Contract, name: str) -> bool:
    """Tell whether a contract says a rule itself, so that the plan's is not its."""
    return limit_of(contract.own, name) is not None or name in contract.own.get(
        "shadow", {}
    )


def count(
    found: Iterable[Rule], held: Mapping[str, Iterable[Contract]], now: dt.datetime
) -> None:
    """Give rules their hits; `held` are the contracts of each rule by its id."""
    since = now - dt.timedelta(days=DAYS)
    sums = (
        RuleCount.objects.filter(hour__gte=since)
        .order_by()
        .values("hour", "customer_id", "subscription_id", "rule")
        .annotate(*[Sum(n, default=0) for n in ("denied", "throttled", "shadowed")])
    )
    by_place = defaultdict(list)
    for row in sums:
        said = {n: row[f"{n}__sum"] for n in ("denied", "throttled", "shadowed")}
        by_place[row["subscription_id"], row["rule"]].append({**row, **said})
    for rule in found:
        for contract in held.get(rule.id, ()):
            place = contract.snapshot.subscription_id, rule.code
            for row in by_place.get(place, ()):
                rule.hits.add(row)


def every(now: dt.datetime) -> list[Rule]:
    """Return the rules in force, those of plans first, with their hits."""
    live = contracts(now)
    versions = sold()
    plans = load_plans({version.pk for version in versions})
    found: list[Rule] = []
    held: dict[str, list[Contract]] = {}
    for version in versions:
        mine = [one for one in live if one.plan.pk == version.plan_id]
        units = units_of(plans[version.pk])
        for name in names_in(version.limits):
            rule = of_plan(version, units, name)
            held[rule.id] = [one for one in mine if not is_own(one, name)]
            found.append(rule)
    for contract in live:
        for name in names_in(contract.limits):
            if is_own(contract, name):
                rule = of_contract(contract, name)
                held[rule.id] = [contract]
                found.append(rule)
    for customer in Customer.objects.filter(spend_cap__isnull=False).order_by("name"):
        rule = of_customer(customer)
        held[rule.id] = [c for c in live if c.snapshot.customer_id == customer.pk]
        found.append(rule)
    count(found, held, now)
    return found


def would_words(found: Iterable[Rule]) -> str:
    """Return what rules in shadow would have done, in a sentence."""
    calls = sum(rule.hits.shadowed for rule in found)
    customers = set().union(*(rule.hits.would for rule in found))
    return (
        f"would have blocked {calls:,} request{'' if calls == 1 else 's'} of"
        f" {len(customers)} customer{'' if len(customers) == 1 else 's'}"
        f" in the last {DAYS} days"
    )
