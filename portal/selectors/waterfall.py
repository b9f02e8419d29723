"""A session's events as a tree of calls on a time line, with the guard's decisions."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.utils.safestring import SafeString

from aforo.lib import ids
from aforo.lib.money import ZERO, display
from guard.models import Decision
from metering.amending import shown_id
from metering.models import Session, UsageEvent
from metering.sessions import ERRORS
from portal.pages import admin_url
from portal.selectors.meters import meters
from portal.selectors.sessions import with_effects
from portal.ui.waterfall import bar as waterfall_bar

# What one page draws of a session's events and decisions.
EVENTS_MAX = 100
DECISIONS_MAX = 50
# Of so many decisions on the customer in the session's time those of it are sought.
SOUGHT_MAX = 5_000
DURATIONS = ("tool_duration_ms", "latency_ms", "duration_ms")
# Levels that are told apart by how far they are moved in.
DEPTH_MAX = 4
# A check comes before its call, and is reported a little apart from its time.
BEFORE, AFTER = dt.timedelta(minutes=20), dt.timedelta(minutes=2)
MICROS = Decimal(1_000_000)


@dataclass(slots=True)
class Bar:
    """One event of a session and where it lies on the session's time line."""

    event: Any  # UsageEvent with the annotations of with_effects.
    duration_ms: int
    left: Decimal  # In percent of the session's time.
    width: Decimal
    depth: int = 0  # How many of the calls shown it is inside of.
    parent: str = ""  # The name of the call that it is inside of, shown above it.
    orphan_of: str = ""  # The parent that it names and that is not shown …
    circle_of: str = ""  # … or that it is the caller of itself.

    is_decision = False

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event.pk)

    @property
    def name(self) -> str:
        """The tool, or what happened."""
        return str(self.event.tool_name or self.event.event_type)

    @property
    def css(self) -> str:
        """How far the row is moved in."""
        return f"deep-{min(self.depth, DEPTH_MAX)}" if self.depth else ""

    @property
    def failed(self) -> bool:
        """Whether the work did not succeed."""
        return self.event.status in ERRORS

    @property
    def note(self) -> str:
        """What else is known of the event: model, tokens, what it wrote."""
        model = self.event.body.get("properties", {}).get("model", "")
        return ", ".join(part for part in (model, meters(self.event)) if part)

    @property
    def plot(self) -> SafeString:
        """The bar."""
        return waterfall_bar(self.left, self.width, "failed" if self.failed else "")


@dataclass(slots=True)
class Asked:
    """A decision of the guard, where it lies in the session."""

    decision: Decision
    left: Decimal  # In percent of the session's time.
    currency: str
    depth: int = 0  # That of the call that it was asked for.
    call: str = ""  # The name of that call, which follows; empty: there is none.

    is_decision = True

    @property
    def css(self) -> str:
        """How far the row is moved in."""
        return f"deep-{min(self.depth, DEPTH_MAX)}" if self.depth else ""

    @property
    def url(self) -> str:
        """Where the back office shows all that was checked."""
        return admin_url(self.decision)

    @property
    def about(self) -> str:
        """What was asked for: the call, the tool, the model."""
        asked = self.decision.inputs
        return self.call or asked.get("tool_name") or asked.get("model") or "a request"

    @property
    def note(self) -> str:
        """Why, at what figures."""
        parts = [self.decision.reason_code]
        if self.decision.degraded:
            parts.append("passed without a full check")
        return ", ".join(part for part in parts if part)

    @property
    def estimated(self) -> str:
        """What the request was thought to cost; empty when nothing was."""
        micros = self.decision.inputs.get("estimate_micros") or 0
        return display(Decimal(micros) / MICROS, self.currency) if micros else ""

    @property
    def plot(self) -> SafeString:
        """The instant."""
        tone = "failed" if self.decision.decision == "deny" else "soft"
        return waterfall_bar(self.left, ZERO, tone)


Row = Bar | Asked


@dataclass(slots=True)
class Waterfall:
    """What happened in a session: calls under the calls that made them."""

    rows: list[Row] = field(default_factory=list)
    event_count: int = 0
    is_cut: bool = False  # There are more events.
    decision_count: int = 0
    decisions_cut: bool = False  # There are, or may be, more decisions.

    @property
    def bars(self) -> list[Bar]:
        """The events alone."""
        return [row for row in self.rows if isinstance(row, Bar)]


def duration_ms(event: UsageEvent) -> int:
    """Return how long the event's work took, by its own measurements."""
    measured = event.body.get("measurements", {})
    return int(sum(Decimal(measured.get(name, 0)) for name in DURATIONS))


def waterfall(session: Session) -> Waterfall:
    """Return the session's first events in time with its decisions; two statements."""
    rows = UsageEvent.objects.filter(
        customer=session.customer_id, session_key=session.key
    )
    found = list(
        with_effects(rows)
        .select_related("agent")
        .order_by("occurred_at", "id")[: EVENTS_MAX + 1]
    )
    events = found[:EVENTS_MAX]
    decisions, decisions_cut = _decisions(session, events)
    return Waterfall(
        _rows(events, decisions, session.currency),
        len(events),
        len(found) > EVENTS_MAX,
        len(decisions),
        decisions_cut,
    )


def _decisions(
    session: Session, events: Sequence[UsageEvent]
) -> tuple[list[Decision], bool]:
    """Return the decisions of a session, and whether there may be more.

    Those that named the session when they were asked for, those of its events'
    requests, and those that named no session and one of its pieces of work.
    """
    since = ids.oldest_since(session.started_at - BEFORE)
    until = ids.oldest_since(session.last_event_at + AFTER)
    near = Decision.objects.filter(
        tenant=session.tenant_id,
        customer_id=session.customer_id,
        pk__gte=since,
    ).order_by("-pk")
    if not session.is_open:  # A refusal may be the last that is heard of a run.
        near = near.filter(pk__lt=until)
    requests = {e.request_id for e in events if e.request_id}
    works = {e.correlation_id for e in events if e.correlation_id}
    of_session = Q(inputs__session_id=session.key) | Q(request_id__in=requests)
    of_session |= Q(inputs__session_id__isnull=True, inputs__correlation_id__in=works)
    sought = near.values("pk")[:SOUGHT_MAX]
    if session.agent_id:  # Agents may share the name of a piece of work.
        of_session &= Q(agent_id=session.agent_id) | Q(agent_id__isnull=True)
    found = list(
        Decision.objects.filter(of_session, pk__in=sought).order_by("pk")[
            : DECISIONS_MAX + 1
        ]
    )
    return found[:DECISIONS_MAX], len(found) > DECISIONS_MAX


def _rows(
    events: Sequence[UsageEvent], decisions: Sequence[Decision], currency: str
) -> list[Row]:
    """Place everything on one time line, children below what they are inside of."""
    line = _Line(events, decisions)

    def asked(decision: Decision, *call: Any) -> Asked:
        return Asked(decision, line.left(decision.decided_at), currency, *call)

    bars = {event.pk: line.bar(event) for event in events}
    children, tops = _tree(events, bars)
    before: dict[uuid.UUID, list[Decision]] = {}
    alone: list[Decision] = []
    by_request = {e.request_id: e.pk for e in reversed(events) if e.request_id}
    for decision in decisions:
        owner = by_request.get(decision.request_id)
        if owner is None:
            alone.append(decision)
        else:
            before.setdefault(owner, []).append(decision)
    starts: list[tuple[dt.datetime, int, uuid.UUID, Row]] = [
        (bars[pk].event.occurred_at, 1, pk, bars[pk]) for pk in tops
    ]
    starts += [(d.decided_at, 0, d.pk, asked(d)) for d in alone]
    rows: list[Row] = []
    for *_, top in sorted(starts, key=lambda one: one[:3]):
        if isinstance(top, Asked):
            rows.append(top)
            continue
        waiting = [(top, 0, "")]
        while waiting:
            bar, depth, parent = waiting.pop()
            bar.depth, bar.parent = depth, parent
            for decision in before.get(bar.event.pk, ()):
                rows.append(asked(decision, depth, bar.name))
            rows.append(bar)
            below = children.get(bar.event.pk, ())
            waiting += [(bars[pk], depth + 1, bar.name) for pk in reversed(below)]
    return rows


def _tree(
    events: Sequence[UsageEvent], bars: Mapping[uuid.UUID, Bar]
) -> tuple[dict[uuid.UUID, list[uuid.UUID]], list[uuid.UUID]]:
    """Return the children of each event by time, and the events that are in none.

    An event whose parent is not among them stands at the top and says which it names;
    so does the first of those that name each other in a circle.
    """
    names: dict[str, uuid.UUID] = {}
    for event in reversed(events):
        for name in _names(event):
            names[name] = event.pk
    parents: dict[uuid.UUID, uuid.UUID] = {}
    tops = []
    for event in events:
        said = event.body.get("parent_id", "")
        parent = names.get(said) if said else None
        if parent is None:
            tops.append(event.pk)
            bars[event.pk].orphan_of = said
        elif _is_inside(parent, event.pk, parents):
            tops.append(event.pk)
            bars[event.pk].circle_of = said
        else:
            parents[event.pk] = parent
    children: dict[uuid.UUID, list[uuid.UUID]] = {}
    for event in events:
        if event.pk in parents:
            children.setdefault(parents[event.pk], []).append(event.pk)
    return children, tops


def _names(event: UsageEvent) -> Iterable[str]:
    """Yield what a child may call its parent by: its ids, and that of its attempt."""
    yield ids.public("evt", event.pk)
    yield event.event_id
    yield shown_id(event)
    if attempt := event.body.get("attempt_id"):
        yield attempt


def _is_inside(
    one: uuid.UUID, other: uuid.UUID, parents: Mapping[uuid.UUID, uuid.UUID]
) -> bool:
    """Tell whether an event is another one, or somewhere inside of it."""
    at: uuid.UUID | None = one
    while at is not None:
        if at == other:
            return True
        at = parents.get(at)
    return False


class _Line:
    """The time that all events and decisions span."""

    def __init__(
        self, events: Sequence[UsageEvent], decisions: Sequence[Decision]
    ) -> None:
        """Find the first instant and the length of the whole."""
        # An event says when its work ended: the bar ends there.
        self._took = {event.pk: duration_ms(event) for event in events}
        starts = [self._start(event) for event in events]
        ends = [event.occurred_at for event in events]
        asked = [decision.decided_at for decision in decisions]
        self._first = min([*starts, *asked], default=dt.datetime.max)
        last = max([*ends, *asked], default=dt.datetime.max)
        self._whole = Decimal(max(1, _ms(last - self._first)))

    def _start(self, event: UsageEvent) -> dt.datetime:
        return event.occurred_at - dt.timedelta(milliseconds=self._took[event.pk])

    def left(self, instant: dt.datetime) -> Decimal:
        """Return where an instant lies, in percent."""
        return Decimal(_ms(instant - self._first)) * 100 / self._whole

    def bar(self, event: UsageEvent) -> Bar:
        """Return an event in its place."""
        took = self._took[event.pk]
        left = self.left(self._start(event))
        return Bar(event, took, left, Decimal(took) * 100 / self._whole)


def _ms(span: dt.timedelta) -> int:
    """Return a span in whole milliseconds."""
    return span // dt.timedelta(milliseconds=1)
