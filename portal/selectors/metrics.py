"""Metrics: what each counts of the traffic, who prices it, and what nothing counts."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q, Subquery, Sum, UUIDField, Value
from django.db.models.functions import Coalesce, TruncDate

from aforo.lib import ids, sql
from aforo.lib.money import ZERO
from catalog import metrics
from catalog.models import Metric, PlanVersion
from metering.measurements import CANONICAL, priced
from metering.models import UsageEvent, UsageRollup
from portal.selectors.sessions import with_effects

# Events are matched by what stands in their bodies, so only the newest are read.
LOOK_BACK = 10_000
EXAMPLES = 5
UNCACHED = "input_uncached_tokens"
COGS = "cogs"

SHAPES = """
SELECT event_type, measured, described, count(*) FROM (
  SELECT event_type, received_at,
    ARRAY(SELECT jsonb_object_keys(body->'measurements') ORDER BY 1) AS measured,
    ARRAY(SELECT jsonb_object_keys(body->'properties') ORDER BY 1) AS described
  FROM metering_usageevent WHERE tenant_id = %b ORDER BY id DESC LIMIT %b) newest
WHERE received_at >= %b GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a metric counts, saved or not yet."""

    aggregation: str
    field: str
    event_types: frozenset[str] = frozenset()

    def counts(self, shape: Shape) -> bool:
        """Tell whether events of a shape add to the metric."""
        if self.event_types and shape.event_type not in self.event_types:
            return False
        if not self.field or self.field == COGS:
            return True
        names = shape.properties if self.is_property else shape.measurements
        return self.field in names

    @property
    def is_property(self) -> bool:
        """Whether the field names a property, not a measurement."""
        return self.aggregation == Metric.Aggregation.UNIQUE


def definition(metric: Metric) -> Definition:
    """Return what a metric counts."""
    return Definition(metric.aggregation, metric.field, frozenset(metric.event_types))


@dataclass(frozen=True, slots=True)
class Shape:
    """Events of one type with the same measurements and properties."""

    event_type: str
    measurements: frozenset[str]
    properties: frozenset[str]
    event_count: int


@dataclass(frozen=True, slots=True)
class Recent:
    """What the newest events of a day look like."""

    shapes: list[Shape]
    is_cut: bool  # The day had more events than were read.

    def count(self, wanted: Definition) -> int:
        """Return how many of the events add to a metric."""
        return sum(s.event_count for s in self.shapes if wanted.counts(s))


def recent(tenant_id: uuid.UUID, now: dt.datetime) -> Recent:
    """Return the shapes of the last 24 hours' events; one statement."""
    since = now - dt.timedelta(days=1)
    with sql.cursor() as cursor:
        found = cursor.execute(SHAPES, [tenant_id, LOOK_BACK, since]).fetchall()
    shapes = []
    for event_type, measured, described, count in found:
        names = set(measured) | ({UNCACHED} if "input_tokens" in measured else set())
        shapes.append(Shape(event_type, frozenset(names), frozenset(described), count))
    return Recent(shapes, sum(s.event_count for s in shapes) >= LOOK_BACK)


@dataclass(frozen=True, slots=True)
class Stranger:
    """An event type or a measurement that no metric counts."""

    kind: str  # type or measurement
    name: str
    event_count: int


def strangers(found: Recent, known: Sequence[Metric]) -> list[Stranger]:
    """Return what the events bring that no metric counts, the most frequent first."""
    wanted = [definition(m) for m in known]
    fields = {d.field for d in wanted} | {UNCACHED}
    types: dict[str, int] = {}
    names: dict[str, int] = {}
    for shape in found.shapes:
        if not any(d.counts(shape) for d in wanted):
            types[shape.event_type] = types.get(shape.event_type, 0) + shape.event_count
        for name in shape.measurements - fields:
            names[name] = names.get(name, 0) + shape.event_count
    counted = {s.event_type for s in found.shapes for d in wanted if d.counts(s)}
    rows = [Stranger("type", t, n) for t, n in types.items() if t not in counted]
    rows += [Stranger("measurement", name, n) for name, n in names.items()]
    return sorted(rows, key=lambda s: (-s.event_count, s.name))


@dataclass(frozen=True, slots=True)
class User:
    """A plan whose published or draft version names a metric."""

    version: PlanVersion

    @property
    def label(self) -> str:
        """The plan and its version, as lists show them."""
        draft = self.version.state == PlanVersion.State.DRAFT
        return f"{self.version}{' (draft)' if draft else ''}"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as the list shows it."""

    metric: Metric
    users: list[User]
    event_count: int

    @property
    def more_users(self) -> int:
        """How many plans there are beside the three that are shown."""
        return max(0, len(self.users) - 3)


def users(versions: Sequence[PlanVersion]) -> list[User]:
    """Return the newest published version and the draft of each plan."""
    seen: set[tuple[uuid.UUID, str]] = set()
    found = []
    for version in versions:  # By plan, the newest version first.
        place = version.plan_id, version.state
        if version.state != PlanVersion.State.RETIRED and place not in seen:
            seen.add(place)
            found.append(User(version))
    return found


def rows(tenant_id: uuid.UUID, known: Sequence[Metric], found: Recent) -> list[Row]:
    """Return what the list shows of the metrics; one statement."""
    by_code = metrics.uses(tenant_id)
    return [
        Row(m, users(by_code.get(m.code, [])), found.count(definition(m)))
        for m in known
    ]


@dataclass(frozen=True, slots=True)
class Match:
    """An event that adds to a metric, and what it adds."""

    event: Any  # UsageEvent with the annotations of with_effects.
    value: Decimal | None
    text: str = ""  # A distinct value.
    currency: str = ""  # Of a cost.

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event.pk)


def matching(tenant_id: uuid.UUID, wanted: Definition) -> list[Match]:
    """Return the newest events that add to a metric and are not void; one statement."""
    events = UsageEvent.objects.filter(tenant=tenant_id)
    last = events.order_by("-id").values("pk")[LOOK_BACK - 1 : LOOK_BACK]
    oldest = Coalesce(Subquery(last), Value(uuid.UUID(int=0)), output_field=UUIDField())
    counted = events.filter(_carries(wanted), pk__gte=oldest, void__isnull=True)
    rows = counted.select_related("customer")
    found = with_effects(rows).order_by("-id")[:EXAMPLES]
    return [_match(event, wanted) for event in found]


def _carries(wanted: Definition) -> Q:
    """Return the condition that an event adds to a metric."""
    asked = Q(event_type__in=wanted.event_types) if wanted.event_types else Q()
    if not wanted.field or wanted.field == COGS:
        return asked
    if wanted.is_property:
        return asked & Q(body__properties__has_key=wanted.field)
    names = [wanted.field]
    if wanted.field == UNCACHED:
        names.append("input_tokens")
    return asked & Q(body__measurements__has_any_keys=names)


def _match(event: Any, wanted: Definition) -> Match:
    """Return what one event adds."""
    if wanted.field == COGS:
        return Match(event, event.cost, currency=event.cost_currency or "")
    if wanted.is_property:
        return Match(event, None, text=str(event.body["properties"][wanted.field]))
    if not wanted.field or wanted.aggregation == Metric.Aggregation.COUNT:
        return Match(event, Decimal(1))
    stored = event.body.get("measurements", {})
    measured = priced({name: Decimal(text) for name, text in stored.items()})
    return Match(event, measured[wanted.field])


def names_seen(found: Recent) -> tuple[list[str], list[str]]:
    """Return what a form may suggest: fields and event types, in order."""
    fields = {n for s in found.shapes for n in s.measurements | s.properties}
    types = {s.event_type for s in found.shapes}
    return sorted(fields | CANONICAL | {COGS}), sorted(types)


# The value that each event of the newest brings, by the day on which it happened.
VALUES = """
WITH newest AS (
  SELECT id, event_id, event_type, occurred_at, body FROM metering_usageevent
  WHERE tenant_id = %(tenant)b ORDER BY id DESC LIMIT %(most)b),
counted AS (
  SELECT (e.occurred_at AT TIME ZONE 'UTC')::date AS day, e.occurred_at, e.event_id,
    {value} AS value
  FROM newest e {join}
  WHERE e.occurred_at >= %(start)b AND e.occurred_at < %(end)b
    AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
    AND (cardinality(%(types)b::text[]) = 0 OR e.event_type = ANY(%(types)b::text[])))
SELECT day, {figure} FROM counted WHERE value IS NOT NULL GROUP BY 1
"""
# Counts and sums that the hourly sums hold as they are.
ROLLED = {
    ("count", ""): "event_count",
    ("sum", "input_tokens"): "input_tokens",
    ("sum", "output_tokens"): "output_tokens",
    ("sum", "cache_read_tokens"): "cache_read_tokens",
}
REACH = """
SELECT count(*), min(received_at) FROM (
  SELECT received_at FROM metering_usageevent
  WHERE tenant_id = %b ORDER BY id DESC LIMIT %b) newest
"""
MEASURED = "(e.body->'measurements'->>%(field)b)::numeric"
REST = """COALESCE((e.body->'measurements'->>%(field)b)::numeric,
    (e.body->'measurements'->>'input_tokens')::numeric
    - COALESCE((e.body->'measurements'->>'cache_read_tokens')::numeric, 0)
    - COALESCE((e.body->'measurements'->>'cache_write_tokens')::numeric, 0))"""
COST = """JOIN metering_costfact f ON f.event_id = e.id AND f.kind = 'original'
    AND f.currency = %(currency)b"""
FIGURES = {
    "count": "count(*)",
    "sum": "sum(value)",
    "max": "max(value)",
    "min": "min(value)",
    "avg": "avg(value)",
    "unique": "count(DISTINCT value)",
    "latest": "(array_agg(value ORDER BY occurred_at DESC, event_id DESC))[1]",
}


@dataclass(frozen=True, slots=True)
class Trend:
    """A metric by day; `since` is the first day that was read whole, if not all."""

    days: dict[dt.date, Decimal]
    since: dt.date | None = None


def trend(
    tenant_id: uuid.UUID,
    metric: Metric,
    start: dt.datetime,
    end: dt.datetime,
    currency: str,
) -> Trend:
    """Return the metric's quantity on each day of [start, end).

    Counts and the common tokens are hourly sums, exact at any volume; for the others
    the newest LOOK_BACK events are read, and days that they do not cover left out.
    Costs are those in the currency.
    """
    column = ROLLED.get((metric.aggregation, metric.field))
    if column is not None:
        return Trend(
            _filled(_rolled(tenant_id, metric, start, end, column), start, end)
        )
    values = {
        "tenant": tenant_id,
        "most": LOOK_BACK,
        "start": start,
        "end": end,
        "types": list(metric.event_types),
    }
    value, join = "1", ""
    if metric.field == COGS:
        value, join, values["currency"] = "f.amount", COST, currency
    elif metric.aggregation == Metric.Aggregation.UNIQUE:
        value, values["field"] = "e.body->'properties'->>%(field)b", metric.field
    elif metric.field:
        value = REST if metric.field == UNCACHED else MEASURED
        values["field"] = metric.field
    figure = FIGURES[metric.aggregation]
    statement = VALUES.format(value=value, join=join, figure=figure)
    with sql.cursor() as cursor:
        found = dict(cursor.execute(statement, values).fetchall())
        reach = cursor.execute(REACH, [tenant_id, LOOK_BACK]).fetchall()
    ((read, oldest),) = reach
    since = None
    if read >= LOOK_BACK and oldest > start:
        since = oldest.astimezone(dt.UTC).date() + dt.timedelta(days=1)
    days = _filled(found, start, end)
    return Trend({d: v for d, v in days.items() if since is None or d >= since}, since)


def _rolled(
    tenant_id: uuid.UUID,
    metric: Metric,
    start: dt.datetime,
    end: dt.datetime,
    column: str,
) -> dict[dt.date, int]:
    """Return a column of the hourly sums by day."""
    rows = UsageRollup.objects.filter(
        tenant=tenant_id, hour__gte=start, hour__lt=end
    ).annotate(day=TruncDate("hour", tzinfo=dt.UTC))
    if metric.event_types:
        rows = rows.filter(event_type__in=metric.event_types)
    return dict(rows.order_by().values_list("day").annotate(Sum(column)))


def _filled(
    found: Mapping[dt.date, Any], start: dt.datetime, end: dt.datetime
) -> dict[dt.date, Decimal]:
    """Return a value for each day of [start, end), 0 where nothing is found."""
    last = (end - dt.timedelta(microseconds=1)).date()
    days = range((last - start.date()).days + 1)
    every = (start.date() + dt.timedelta(days=n) for n in days)
    return {day: Decimal(found.get(day, ZERO)) for day in every}
