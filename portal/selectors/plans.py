"""Plans: what each brings in, its versions and who is on them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from aforo.core.models import AuditEntry
from aforo.lib.models import MoneyField
from aforo.lib.money import ZERO
from billing.models import Subscription, SubscriptionSnapshot, UsageTotal
from catalog.models import Plan, PlanVersion
from portal.selectors.figures import Figures, fees, main_currency

PUBLISHED = PlanVersion.State.PUBLISHED
DRAFT = PlanVersion.State.DRAFT
Counts = dict[uuid.UUID, int]  # By plan version.


@dataclass(slots=True)
class Row:
    """One plan as the list shows it."""

    plan: Plan
    figures: dict[str, Figures]  # Of the periods under way, by currency.
    live: PlanVersion | None = None  # The latest published version.
    draft: PlanVersion | None = None
    version_count: int = 0
    subscription_count: int = 0

    def main(self, preferred: str) -> Figures:
        """Return the figures in the preferred currency, or where the money is."""
        currency = main_currency(self.figures, preferred)
        return self.figures.get(currency, Figures(currency))


def rows(plans: Sequence[Plan], now: dt.datetime) -> list[Row]:
    """Return what the list shows of these plans; three statements."""
    sums = _figures([p.pk for p in plans], now)
    found = {p.pk: Row(p, sums[p.pk]) for p in plans}
    by_version: dict[uuid.UUID, Row] = {}
    versions = PlanVersion.objects.filter(plan__in=found).defer("body", "limits")
    for version in versions.order_by("number"):
        row = by_version[version.pk] = found[version.plan_id]
        row.version_count += 1
        if version.state == PUBLISHED:
            row.live = version
        elif version.state == DRAFT:
            row.draft = version
    for key, count in subscribers(by_version, now).items():
        by_version[key].subscription_count += count
    return list(found.values())


SUMS: dict[str, Any] = {
    "used": Coalesce(Sum("spend"), ZERO, output_field=MoneyField()),
    "fixed": Coalesce(Sum("recurring"), ZERO, output_field=MoneyField()),
    "known": Coalesce(Sum("cost"), ZERO, output_field=MoneyField()),
    "events": Sum("event_count"),
    "unknown": Sum("cost_unknown_count"),
}


def _figures(
    plans: Sequence[uuid.UUID], now: dt.datetime
) -> dict[uuid.UUID, dict[str, Figures]]:
    """Return usage, recurring amounts and cost of the billing periods in force."""
    found: dict[uuid.UUID, dict[str, Figures]] = {key: {} for key in plans}
    totals: QuerySet[UsageTotal] = fees(now).filter(
        snapshot__plan_version__plan__in=plans
    )
    grouped = totals.values("currency", plan=F("snapshot__plan_version__plan"))
    for row in grouped.annotate(**SUMS).order_by():
        found[row["plan"]][row["currency"]] = Figures(
            row["currency"],
            row["used"] + row["fixed"],
            row["known"],
            row["events"],
            row["unknown"],
            row["events"],  # Totals count what has a price and nothing else.
        )
    return found


def in_force(now: dt.datetime) -> QuerySet[SubscriptionSnapshot]:
    """Return the snapshot in force of every contract that has not ended."""
    begun = SubscriptionSnapshot.objects.filter(effective_from__lte=now).exclude(
        subscription__state=Subscription.State.CANCELLED
    )
    latest = begun.order_by("subscription_id", "-number").distinct("subscription_id")
    return SubscriptionSnapshot.objects.filter(
        pk__in=latest.values("pk"), plan_version__isnull=False
    )


def subscribers(versions: Iterable[uuid.UUID], now: dt.datetime) -> Counts:
    """Return how many contracts each of the versions has now."""
    found = in_force(now).filter(plan_version__in=list(versions)).order_by()
    return dict(found.values_list("plan_version").annotate(Count("pk")))


def arriving(versions: Iterable[uuid.UUID], now: dt.datetime) -> Counts:
    """Return how many contracts move to each of the versions at their renewal."""
    found = SubscriptionSnapshot.objects.filter(
        plan_version__in=list(versions), effective_from__gt=now
    ).exclude(subscription__state=Subscription.State.CANCELLED)
    return dict(found.order_by().values_list("plan_version").annotate(Count("pk")))


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version as the page of its plan lists it."""

    version: PlanVersion
    is_live: bool  # The latest published one.
    subscription_count: int
    arriving_count: int  # They come at their renewal.
    saved: AuditEntry | None = None  # Of a draft: who saved it last, and when.

    @property
    def word(self) -> str:
        """Where it stands: older published versions are kept for their subscribers."""
        if self.version.state != PUBLISHED:
            return PlanVersion.State(self.version.state).label
        return "Live" if self.is_live else "Kept"

    @property
    def state(self) -> str:
        """How its state looks."""
        kept = self.version.state == PUBLISHED and not self.is_live
        return "closed" if kept else str(self.version.state)


def versions(plan: Plan, now: dt.datetime) -> list[VersionRow]:
    """Return the plan's versions, the newest first; at most four statements."""
    found = list(
        PlanVersion.objects.filter(plan=plan)
        .select_related("plan", "published_by")
        .order_by("-number")
    )
    live = next((v.pk for v in found if v.state == PUBLISHED), None)
    keys = [v.pk for v in found]
    counts, coming = subscribers(keys, now), arriving(keys, now)
    return [
        VersionRow(
            v,
            v.pk == live,
            counts.get(v.pk, 0),
            coming.get(v.pk, 0),
            _last_saved(v) if v.state == DRAFT else None,
        )
        for v in found
    ]


def _last_saved(draft: PlanVersion) -> AuditEntry | None:
    """Return who saved a draft last."""
    return (
        AuditEntry.objects.filter(
            tenant_id=draft.tenant_id,
            object_type="planversion",
            object_id=draft.public_id,
            action="plan.draft_saved",
        )
        .order_by("-created_at")
        .first()
    )


def contracts(plan: Plan, now: dt.datetime) -> QuerySet[Subscription]:
    """Return the plan's contracts that are in force now."""
    current = in_force(now).filter(plan_version__plan=plan)
    return Subscription.objects.filter(
        pk__in=current.values("subscription")
    ).select_related("customer", "agent")


@dataclass(slots=True)
class ContractRow:
    """One contract of a plan: its version now, what it has come to, what comes."""

    subscription: Subscription
    snapshot: SubscriptionSnapshot | None = None
    following: SubscriptionSnapshot | None = None  # Announced; None: nothing.
    figures: Figures | None = None  # Of the period under way; None before usage.


def contract_rows(found: Sequence[Subscription], now: dt.datetime) -> list[ContractRow]:
    """Return what the page shows of these contracts; two statements."""
    made = {s.pk: ContractRow(s) for s in found}
    snapshots = SubscriptionSnapshot.objects.filter(subscription__in=made)
    for snapshot in snapshots.select_related("plan_version__plan").order_by("number"):
        row = made[snapshot.subscription_id]
        if snapshot.effective_from <= now:
            row.snapshot = snapshot
        elif row.following is None:
            row.following = snapshot
    current = {r.snapshot.pk: r for r in made.values() if r.snapshot}
    for total in fees(now).filter(snapshot__in=current):
        current[total.snapshot_id].figures = Figures(
            total.currency,
            total.spend + total.recurring,
            total.cost,
            total.event_count,
            total.cost_unknown_count,
            total.event_count,
        )
    return list(made.values())


def audit(plan: Plan) -> QuerySet[AuditEntry]:
    """Return who changed the plan and its versions."""
    ids = defaultdict(list, plan=[plan.public_id])
    ids["planversion"] = [v.public_id for v in PlanVersion.objects.filter(plan=plan)]
    asked = Q()
    for kind, keys in ids.items():
        asked |= Q(object_type=kind, object_id__in=keys)
    return AuditEntry.objects.filter(asked, tenant_id=plan.tenant_id)
