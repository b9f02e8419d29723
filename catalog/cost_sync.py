"""Follow the public price list: rises at once, large falls only when approved."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import plain
from catalog import cost_library, cost_rates
from catalog.cost_library import LIBRARY_VERSION, SINCE_EVER, Key, Span
from catalog.models import CostChange, CostRate

log = logging.getLogger(__name__)
State = CostChange.State

# A fall of more than this share waits for somebody to believe it.
FALL = Decimal("0.20")

Name = tuple[str, str]  # Provider and model.


@dataclass(frozen=True, slots=True)
class Difference:
    """One amount over one time that differs from what we know."""

    provider: str
    model: str
    key: Key
    before: Span | None
    after: Span

    @property
    def ratio(self) -> Decimal | None:
        """The change over what it was; None from nothing or from free."""
        if self.before is None or not self.before.amount:
            return None
        old = self.before.amount / self.before.per
        return (self.after.amount / self.after.per / old - 1).quantize(
            Decimal("0.0001")
        )

    @property
    def waits(self) -> bool:
        """Whether it is a fall that somebody has to approve."""
        return self.ratio is not None and self.ratio < -FALL


@dataclass(slots=True)
class Report:
    """What a synchronisation found, and did unless it was a dry run."""

    added: int = 0  # Rates of what had none.
    applied: list[Difference] = field(default_factory=list)
    waiting: list[Difference] = field(default_factory=list)
    vanished: list[tuple[str, str, Key]] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def backdated_from(self) -> dt.datetime | None:
        """The earliest instant at which a known cost changes; None without any."""
        return min((d.after.valid_from for d in self.applied), default=None)


@transaction.atomic
def sync(*, dry_run: bool = False, only: Iterable[Name] = ()) -> Report:
    """Compare the list with what we know of it, and take it over.

    What has no rate gets all of the list's, whatever their time. A price that
    changed without a date changes from now on; one with a date from that on.
    Idempotent. `only` limits it to some models.
    """
    if not dry_run:
        cost_rates.lock()
    now, report, wanted = clock.now(), Report(), frozenset(only)
    rows: dict[Name, dict[Key, list[CostRate]]] = {}
    library = CostRate.objects.filter(tenant=None, superseded_at=None)
    for rate in library.order_by("valid_from"):
        key = Key(*(getattr(rate, name) for name in Key._fields))
        of_model = rows.setdefault((rate.provider, rate.model), {})
        of_model.setdefault(key, []).append(rate)
    new: list[CostRate] = []
    for provider, info in cost_library.models():
        name = (provider, info.id)
        if wanted and name not in wanted:
            continue
        for fault in cost_library.faults(info):
            report.faults[fault.kind] = report.faults.get(fault.kind, 0) + 1
        listed = cost_library.spans(info)
        known = rows.get(name, {})
        for key, spans in listed.items():
            if key not in known:
                new += _new_rates(name, key, spans, now)
            for found in _differences(name, key, known.get(key, []), spans, now):
                (report.waiting if found.waits else report.applied).append(found)
        report.vanished += [(*name, key) for key in known.keys() - listed.keys()]
    report.added = len(new)
    if not dry_run:
        CostRate.objects.bulk_create(new, batch_size=1_000)
        _apply(report)
    return report


def _new_rates(
    name: Name, key: Key, spans: Sequence[Span], now: dt.datetime
) -> list[CostRate]:
    """Return the rates of what had none."""
    subject = cost_rates.library_subject(*name, key)
    return [
        CostRate(**subject._asdict(), **span._asdict(), currency="USD", recorded_at=now)
        for span in spans
    ]


def _differences(
    name: Name,
    key: Key,
    rows: Sequence[CostRate],
    spans: Sequence[Span],
    now: dt.datetime,
) -> list[Difference]:
    """Return where the list says otherwise than we know."""
    found: list[Difference] = []
    if not rows:
        return found
    first = rows[0].valid_from
    for span in spans:
        # Without a date nobody knows since when: what we knew stays true until now.
        start = now if span.valid_from == SINCE_EVER else max(span.valid_from, first)
        if span.valid_to and span.valid_to <= start:
            continue
        row = next(
            (
                r
                for r in reversed(rows)
                if r.valid_from <= start and (not r.valid_to or start < r.valid_to)
            ),
            None,
        )
        if row and row.amount / row.per == span.amount / span.per:
            continue
        before = (
            Span(row.amount, row.per, row.valid_from, row.valid_to) if row else None
        )
        found.append(Difference(*name, key, before, span._replace(valid_from=start)))
    return found


def _apply(report: Report) -> None:
    """Write what applies at once, and list what waits."""
    for found in report.applied:
        subject = cost_rates.library_subject(found.provider, found.model, found.key)
        cost_rates.put(subject, found.after, "USD")
        _record(found, State.APPLIED, None)
        log.warning(
            "cost of %s %s %s changed by %s from %s",
            found.provider,
            found.model,
            found.key.unit,
            found.ratio,
            found.after.valid_from,
        )
    for tenant in Tenant.objects.all() if report.waiting else ():
        for found in report.waiting:
            if not _decided(found, tenant):
                _record(found, State.PENDING, tenant)


def _decided(found: Difference, tenant: Tenant) -> bool:
    """Tell whether a tenant was asked about a fall, or rejected it."""
    asked = CostChange.objects.filter(
        tenant=tenant,
        provider=found.provider,
        model=found.model,
        key=found.key._asdict(),
    )
    listed = _told(found.after)
    return any(
        change.after and change.after["amount"] == listed["amount"]
        for change in asked.exclude(state=State.APPLIED)
    )


def _record(found: Difference, state: State, tenant: Tenant | None) -> CostChange:
    """Write what became of a difference."""
    return CostChange.objects.create(
        tenant=tenant,
        state=state,
        provider=found.provider,
        model=found.model,
        key=found.key._asdict(),
        before=_told(found.before) if found.before else {},
        after=_told(found.after),
        ratio=found.ratio,
        library_version=LIBRARY_VERSION,
        decided_at=clock.now() if state == State.APPLIED else None,
        decided_by="the price list" if state == State.APPLIED else "",
    )


def _told(span: Span) -> dict[str, str | int | None]:
    """Return a span as JSON."""
    return {
        "amount": plain(span.amount),
        "per": span.per,
        "valid_from": span.valid_from.isoformat(),
        "valid_to": span.valid_to.isoformat() if span.valid_to else None,
    }


def span_of(told: Mapping[str, str | int | None]) -> Span:
    """Return a span from what _told made of it."""
    until = told["valid_to"]
    return Span(
        Decimal(str(told["amount"])),
        int(told["per"] or 1),
        dt.datetime.fromisoformat(str(told["valid_from"])),
        dt.datetime.fromisoformat(str(until)) if until else None,
    )


@transaction.atomic
def decide(*, change: CostChange, approve: bool, actor: User) -> CostChange:
    """Believe a fall of the list, or do not; approved it is the tenant's from then on.

    Raises AforoError 409 `change_decided`.
    """
    found = CostChange.objects.select_for_update(of=("self",)).get(pk=change.pk)
    if found.tenant is None or not found.is_pending:
        state = found.get_state_display().lower()
        raise AforoError("change_decided", 409, f"The change is {state} already.")
    found.state = State.APPROVED if approve else State.REJECTED
    found.decided_at = clock.now()
    found.decided_by = str(actor)
    found.save(update_fields=["state", "decided_at", "decided_by"])
    if approve:
        cost_rates.lock()
        subject = cost_rates.library_subject(
            found.provider, found.model, Key(**found.key)
        )._replace(tenant_id=found.tenant_id)
        cost_rates.put(subject, span_of(found.after), "USD")
    audit.record(
        tenant=found.tenant,
        actor=actor,
        action=f"cost_change.{found.state}",
        target=found,
        changes={
            "amount": [found.before.get("amount"), found.after["amount"]],
            "model": [None, str(found)],
        },
    )
    return found
