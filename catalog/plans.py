"""Rate plans: drafts that anybody may change, published versions that nobody may."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from aforo.core import audit
from aforo.core.models import Role, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES
from catalog import draft_audit, pricing, tools
from catalog.checks import apply_changes, check_fields
from catalog.describe import describe
from catalog.limits import check_limits
from catalog.models import Metric, Plan, PlanVersion, Product
from catalog.ownership import Said, check_owned, role_in
from catalog.products import check_code, taken

__all__ = [
    "PricedPlan",
    "create_plan",
    "describe",
    "describe_version",
    "load_plans",
    "metric_json",
    "newest_version",
    "publish",
    "resolve_metrics",
    "retire",
    "save_draft",
    "update_plan",
]

# What may change of a plan once it is made.
PLAN_CHANGES = frozenset({"name", "description"})
# Published versions never change, so a process keeps those it has parsed.
LOADED_MAX = 2_048


@dataclass(frozen=True, slots=True, eq=False)
class PricedPlan:
    """A published version, parsed once and kept."""

    id: uuid.UUID  # Of the plan version.
    plan_id: uuid.UUID
    product_id: uuid.UUID
    name: str
    number: int
    plan: pricing.Plan
    limits: Mapping[str, Any]
    prorate: bool
    tools: frozenset[str] = field(init=False)  # Those that filters and rates name.

    def __post_init__(self) -> None:
        """Find the tools that the plan names."""
        object.__setattr__(self, "tools", _named_tools(self.plan))

    @property
    def currency(self) -> str:
        """The currency of every amount of the plan."""
        return self.plan.currency


_loaded: dict[uuid.UUID, PricedPlan] = {}


def load_plans(version_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, PricedPlan]:
    """Return published or retired versions by id, in at most one statement.

    Raises PlanVersion.DoesNotExist when one is absent or still a draft.
    """
    wanted = set(version_ids)
    missing = [version for version in wanted if version not in _loaded]
    if missing:
        found = PlanVersion.objects.select_related("plan").filter(pk__in=missing)
        fresh = {v.pk: _priced(v) for v in found.exclude(state=PlanVersion.State.DRAFT)}
        if len(fresh) < len(missing):
            raise PlanVersion.DoesNotExist(f"no published version in {missing}")
        if len(_loaded) + len(fresh) > LOADED_MAX:
            _loaded.clear()
            return fresh | load_plans(wanted - fresh.keys())
        _loaded.update(fresh)
    return {version: _loaded[version] for version in wanted}


def _named_tools(plan: pricing.Plan) -> frozenset[str]:
    """Return the tools that a plan's filters and rates name."""
    named: set[str] = set()
    for charge in plan.charges:
        for name, allowed in charge.filter.conditions:
            if name == tools.PROPERTY:
                named |= allowed
        if isinstance(charge.model, pricing.Dimensions):
            named |= {*charge.model.tools, *charge.model.multipliers}
    return frozenset(named)


def _priced(version: PlanVersion) -> PricedPlan:
    """Return a version with its parsed plan."""
    return PricedPlan(
        id=version.pk,
        plan_id=version.plan_id,
        product_id=version.plan.product_id,
        name=version.plan.name,
        number=version.number,
        plan=pricing.parse_plan(version.body, published=True),
        limits=version.limits,
        prorate=version.prorate,
    )


@transaction.atomic
def create_plan(
    *,
    product: Product,
    name: str,
    code: str,
    actor: User | None,
    description: str = "",
) -> Plan:
    """Add a rate plan without a version.

    Raises AforoError 422 `invalid_code`, `invalid_value` or `already_exists`.
    """
    check_code(code)
    plan = Plan(
        tenant_id=product.tenant_id,
        product=product,
        name=name,
        code=code,
        description=description,
    )
    check_fields(plan)
    try:
        with transaction.atomic():
            plan.save(force_insert=True)
    except IntegrityError as error:
        raise taken("code", code) from error
    audit.record(
        tenant=product.tenant_id,
        actor=actor,
        action="plan.created",
        target=plan,
        changes={"code": [None, code], "product": [None, product.name]},
    )
    return plan


@transaction.atomic
def update_plan(*, plan: Plan, changes: Mapping[str, Any], actor: User | None) -> Plan:
    """Change a plan's name or description; prices are in its versions.

    Raises AforoError 422 `immutable_field` or `invalid_value`.
    """
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    before = apply_changes(plan, changes, PLAN_CHANGES)
    if before:
        plan.save(update_fields=list(before))
        audit.record(
            tenant=plan.tenant_id,
            actor=actor,
            action="plan.changed",
            target=plan,
            changes={n: [old, getattr(plan, n)] for n, old in before.items()},
        )
    return plan


@transaction.atomic
def save_draft(
    *,
    plan: Plan,
    body: Mapping[str, Any],
    limits: Mapping[str, Any],
    actor: User | None,
    prorate: bool = False,
    expected_revision: int | None = None,
    on_behalf_of: User | None = None,
    by_itself: bool = False,
) -> PlanVersion:
    """Keep what the next version of a plan will say; a plan has one draft.

    `body` is plan JSON; a charge may name a metric by its code. It may be
    incomplete: publishing checks it. `expected_revision` is the one of the newest
    version that the caller saw (0 for none; None: whatever is there is replaced);
    what says nothing new is not saved again. Savings `by_itself`, which nobody asked
    for, are one audit entry for a person and stretch. What the role of the actor (or
    of whom a key acts for) does not own stays as it was. Raises AforoError 422
    `unknown_currency`, 409 `draft_changed` when somebody else saved or published, 403
    `finance_only` or `product_manager_only`.
    """
    currency = body.get("currency")
    if currency not in CURRENCIES:
        raise AforoError(
            "unknown_currency", 422, f"{currency!r} is no currency.", field="currency"
        )
    Plan.objects.select_for_update().get(pk=plan.pk)
    last = newest_version(plan)
    seen = last.revision if last else 0
    if expected_revision is not None and expected_revision != seen:
        raise _changed(plan, last)
    _check_owned(plan, last, Said(body, limits, prorate), actor or on_behalf_of)
    if last is None or last.state != PlanVersion.State.DRAFT:
        draft = PlanVersion(
            tenant_id=plan.tenant_id, plan=plan, number=last.number + 1 if last else 1
        )
    else:
        draft = last
        said = (draft.currency, draft.body, draft.limits, draft.prorate)
        if said == (currency, dict(body), dict(limits), prorate):
            if not by_itself:
                draft_audit.record_rest(draft, actor)
            return draft
    draft.currency = currency
    draft.body = dict(body)
    draft.limits = dict(limits)
    draft.prorate = prorate
    draft.revision = seen + 1
    draft.saved_at = clock.now()
    draft.saved_by = actor
    draft.save()
    if not (by_itself and draft_audit.is_covered(draft, actor)):
        draft_audit.record(draft, actor)
    return draft


def _check_owned(
    plan: Plan, last: PlanVersion | None, new: Said, person: User | None
) -> None:
    """Refuse what is not the person's to change; see `catalog.ownership`."""
    role = role_in(plan.tenant_id, person)
    if role not in (Role.PRODUCT_MANAGER, Role.FINANCE):
        return
    old = Said(last.body, last.limits, last.prorate) if last else None
    versions = PlanVersion.objects.filter(plan=plan, published_at__isnull=False)
    sold = versions.order_by("-number").values_list("body", flat=True).first()
    check_owned(role, old=old, new=new, published=sold or {})


def newest_version(plan: Plan) -> PlanVersion | None:
    """Return the version with the highest number: the draft, if there is one."""
    versions = PlanVersion.objects.filter(plan=plan).order_by("-number")
    return versions.select_related("saved_by", "published_by").first()


def _changed(plan: Plan, version: PlanVersion | None) -> AforoError:
    """Return the refusal to overwrite what somebody else made of the draft."""
    if version is None:
        detail = f"The draft of {plan} was removed while you edited."
        return AforoError("draft_changed", 409, detail, revision=0)
    if version.state == PlanVersion.State.DRAFT:
        deed, who, at = "saved", version.saved_by, version.saved_at
    else:
        deed, who, at = "published", version.published_by, version.published_at
    by = f" by {who}" if who else ""
    when = f" at {at:%H:%M:%S} UTC" if at else ""
    return AforoError(
        "draft_changed",
        409,
        f"{version} was {deed}{by}{when} while you edited.",
        revision=version.revision,
    )


def metric_json(metric: Metric) -> dict[str, Any]:
    """Return a metric as plan JSON defines it inside a charge."""
    row: dict[str, Any] = {"key": metric.code, "aggregation": metric.aggregation}
    if metric.field == "cogs":
        row["cogs"] = True
    elif metric.field:
        distinct = metric.aggregation == Metric.Aggregation.UNIQUE
        row["property" if distinct else "measurement"] = metric.field
    if metric.event_types:
        row["event_types"] = sorted(metric.event_types)
    if metric.window != Metric.Window.PERIOD:
        row["window"] = metric.window
    return row


def resolve_metrics(
    body: Mapping[str, Any], known: Mapping[str, Metric]
) -> dict[str, Any]:
    """Return the plan JSON with every metric that is named by its code defined.

    Raises AforoError 422 `unknown_metric`, also for a definition inside a charge
    whose key is no metric.
    """
    charges = body.get("charges")
    if not isinstance(charges, list):
        return dict(body)
    made = []
    for index, charge in enumerate(charges):
        metric = charge.get("metric") if isinstance(charge, Mapping) else None
        code = metric.get("key") if isinstance(metric, Mapping) else metric
        if code is not None and (not isinstance(code, str) or code not in known):
            raise AforoError(
                "unknown_metric",
                422,
                f"There is no metric {str(code)[:80]}.",
                field=f"charges[{index}].metric",
            )
        if isinstance(metric, str):
            charge = {**charge, "metric": metric_json(known[metric])}
        made.append(charge)
    return {**body, "charges": made}


@transaction.atomic
def publish(*, version: PlanVersion, actor: User | None) -> PlanVersion:
    """Freeze a draft: from now on subscriptions can be made to it.

    The body that is kept is complete in itself: metrics are written out. Raises
    AforoError 409 `not_a_draft`, 422 `unknown_metric`, `invalid_limits` or a code
    of plan JSON, with the path as its field.
    """
    version = (
        PlanVersion.objects.select_for_update(of=("self",))
        .select_related("plan__product")
        .get(pk=version.pk)
    )
    if version.state != PlanVersion.State.DRAFT:
        raise AforoError("not_a_draft", 409, f"{version} is {version.state}.")
    # Locked, so that no definition changes between being read and being fixed.
    metrics = Metric.objects.filter(tenant_id=version.tenant_id).order_by("pk")
    known = {m.code: m for m in metrics.select_for_update(no_key=True)}
    try:
        parsed = pricing.parse_plan(resolve_metrics(version.body, known))
    except pricing.PlanError as error:
        raise AforoError(error.code, 422, error.message, field=error.path) from error
    check_limits(version.limits, metrics=frozenset(known))
    version.body = pricing.plan_to_json(parsed)
    version.currency = parsed.currency
    version.state = PlanVersion.State.PUBLISHED
    version.revision += 1
    version.published_at = clock.now()
    version.published_by = actor
    version.save()
    audit.record(
        tenant=version.tenant_id,
        actor=actor,
        action="plan.published",
        target=version,
        changes={"state": ["draft", "published"], "charges": [None, describe(parsed)]},
    )
    return version


@transaction.atomic
def retire(*, version: PlanVersion, actor: User | None) -> PlanVersion:
    """Let nobody subscribe to a version any more; its subscribers keep it.

    Raises AforoError 409 `not_published`.
    """
    version = PlanVersion.objects.select_for_update().get(pk=version.pk)
    if version.state != PlanVersion.State.PUBLISHED:
        raise AforoError("not_published", 409, f"{version} is {version.state}.")
    version.state = PlanVersion.State.RETIRED
    version.save(update_fields=["state"])
    audit.record(
        tenant=version.tenant_id,
        actor=actor,
        action="plan.retired",
        target=version,
        changes={"state": ["published", "retired"]},
    )
    return version


def describe_version(version: PlanVersion) -> str:
    """Return what a published version charges, in at most 120 words."""
    (priced,) = load_plans({version.pk}).values()
    return describe(priced.plan)
