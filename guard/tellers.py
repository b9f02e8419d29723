"""What the guard has to tell: changes of margin levels, as happenings."""

from __future__ import annotations

from typing import Any, Final

from aforo.core.happenings import Kind, Severity, tell
from aforo.lib import ids
from aforo.lib.money import display
from guard.margin import rules
from guard.margin.record import TARGETS
from guard.models import Level, MarginChange, Scope

_SEVERITIES: Final = {
    Level.WARN: Severity.WARN,
    Level.THROTTLE: Severity.THROTTLE,
    Level.BLOCK: Severity.BLOCK,
}
_PREFIXES: Final = {
    Scope.SUBSCRIPTION: "sub",
    Scope.CUSTOMER: "cus",
    Scope.AGENT: "agt",
    Scope.PRODUCT: "prd",
}
_BINDS: Final = {
    Level.WARN: "below the warn line",
    Level.THROTTLE: "below the throttle line: calls are slowed",
    Level.BLOCK: "below the block line: calls are refused",
}


def on_margin_changed(*, change: MarginChange, **_: Any) -> None:
    """Tell of a level that binds, and that it binds no more; releases are an OK."""
    if not {change.before, change.level} & {*rules.LADDER}:
        return  # Between OK and unknown nobody is restricted.
    released = change.cause == MarginChange.Cause.RELEASE
    level = Level(change.level)
    severity = Severity.OK if released else _SEVERITIES.get(level, Severity.OK)
    subject = _subject(change)
    margin = "unknown" if change.margin is None else f"{change.margin:.1f} %"
    if severity == Severity.OK:
        words = "released by hand" if released else "above its lines again"
    else:
        words = _BINDS[level]
    tell(
        Kind.MARGIN,
        tenant=change.tenant_id,
        scope=f"{subject}/margin",
        severity=severity,
        text=f"The margin of {_name(change)} is {margin}, {words}: revenue "
        f"{display(change.revenue, change.currency)}, cost "
        f"{display(change.cogs, change.currency)}.",
        key=f"{change.period_id}:{change.pk.hex}",
        customer_id=change.customer_id,
        figures={
            "before": change.before,
            "level": change.level,
            "margin": change.margin,
            "revenue": change.revenue,
            "cogs": change.cogs,
            "currency": change.currency,
            "event_id": str(change.event_id) if change.event_id else None,
        },
        url=_url(change),
    )


def _subject(change: MarginChange) -> str:
    return ids.public(_PREFIXES[Scope(change.scope)], change.subject_id)


def _name(change: MarginChange) -> str:
    """Return who it is, in words."""
    scope = Scope(change.scope)
    target = TARGETS[scope]._default_manager.filter(pk=change.subject_id).first()
    said = getattr(target, "name", "") or _subject(change)
    return f"{scope.label.lower()} {said}"


def _url(change: MarginChange) -> str:
    """Return the page where its figures are."""
    if change.customer_id is None:
        return f"/products/{_subject(change)}"
    return f"/customers/{ids.public('cus', change.customer_id)}"
