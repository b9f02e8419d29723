"""How fast agents call tools, against their own pace: an alert at three times.

Each complete minute is counted once, by the time at which events were received: their
ids are in that order, so a minute is one range of the primary key. Hours keep the sum
and the count of active minutes, so a week of one agent and tool is at most 168 rows.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Happening
from aforo.lib import clock, ids, sql
from guard import alert_rules
from metering.models import ToolPace

MINUTE: Final = dt.timedelta(minutes=1)
WEEK: Final = dt.timedelta(days=7)
ACTIVE_MINUTES_MIN: Final = 60
PAIRS_MAX: Final = 10_000

COUNTED = """
SELECT e.tenant_id, e.agent_id, e.tool_name, count(*)
FROM metering_usageevent e
WHERE e.id >= %b AND e.id < %b AND e.agent_id IS NOT NULL AND e.tool_name <> ''
GROUP BY 1, 2, 3 ORDER BY 2, 3 LIMIT %b
"""
PACES = """
SELECT p.agent_id, p.tool_name, sum(p.active_minutes), sum(p.invocations)
FROM metering_toolpace p
JOIN unnest(%b::uuid[], %b::text[]) AS w (agent_id, tool_name)
  USING (agent_id, tool_name)
WHERE p.hour > %b GROUP BY 1, 2
"""
ADD = """
INSERT INTO metering_toolpace AS t (id, created_at, tenant_id, agent_id, tool_name,
  hour, active_minutes, invocations, last_minute)
SELECT r.id, %b, r.tenant_id, r.agent_id, r.tool_name, %b, 1, r.invocations, %b
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::bigint[])
  AS r (id, tenant_id, agent_id, tool_name, invocations)
ON CONFLICT (agent_id, tool_name, hour) DO UPDATE SET
  active_minutes = t.active_minutes + 1,
  invocations = t.invocations + excluded.invocations,
  last_minute = excluded.last_minute
WHERE t.last_minute < excluded.last_minute
"""
NAMES = """
SELECT a.id, a.name, a.customer_id FROM billing_agent a WHERE a.id = ANY(%b)
"""


@transaction.atomic
def count(minute: dt.datetime) -> int:
    """Count a complete minute and tell who was too fast; return how many pairs.

    Idempotent by ToolPace.last_minute and by what was told.
    """
    with sql.cursor() as cursor:
        span = [ids.oldest_since(minute), ids.oldest_since(minute + MINUTE)]
        found = cursor.execute(COUNTED, [*span, PAIRS_MAX]).fetchall()
        if found:
            agents, tools = [r[1] for r in found], [r[2] for r in found]
            rows = cursor.execute(PACES, [agents, tools, minute - WEEK]).fetchall()
            paces = {(a, t): (int(m), int(n)) for a, t, m, n in rows}
            _judge(found, paces, minute)
            hour = minute.replace(minute=0)
            columns = list(zip(*found, strict=True))
            keys = [ids.new_id() for _ in found]
            values = [clock.now(), hour, minute, keys, *map(list, columns)]
            cursor.execute(ADD, values)
    _recover({(row[1], row[2]) for row in found})
    ToolPace.objects.filter(hour__lt=minute - WEEK - dt.timedelta(hours=1)).delete()
    return len(found)


def _judge(
    found: list[Any],
    paces: dict[tuple[uuid.UUID, str], tuple[int, int]],
    minute: dt.datetime,
) -> None:
    """Tell of agents that are faster than a line, and of those that no longer are."""
    with sql.cursor() as cursor:
        rows = cursor.execute(NAMES, [list({r[1] for r in found})]).fetchall()
    names = {row[0]: row[1:] for row in rows}
    for tenant_id, agent_id, tool, calls in found:
        minutes, total = paces.get((agent_id, tool), (0, 0))
        if minutes < ACTIVE_MINUTES_MIN or agent_id not in names:
            continue
        usual = Decimal(total) / minutes
        lines = [
            n for n in alert_rules.lines(tenant_id, Kind.VELOCITY) if calls >= n * usual
        ]
        name, customer_id = names[agent_id]
        line = max(lines, default=None)
        normal = f"{usual.quantize(Decimal(1)):,}"
        text = f"{name} is invoking {tool} at {calls:,}/min (normal {normal}/min)."
        tell(
            Kind.VELOCITY,
            tenant=tenant_id,
            scope=f"{ids.public('agt', agent_id)}/{tool}",
            severity=Severity.OK if line is None else Severity.WARN,
            text=text if line is None else f"{text} Investigate or pause?",
            key=f"{minute:%Y-%m-%dT%H}:{line}",
            figures={
                "per_minute": calls,
                "normal": usual.quantize(Decimal("0.1")),
                "line": line,
                "window": f"{minute:%Y-%m-%dT%H}",
                "tool": tool,
            },
            customer_id=customer_id,
            url=f"/customers/{ids.public('cus', customer_id)}/hierarchy",
        )


def _recover(active: set[tuple[uuid.UUID, str]]) -> None:
    """Tell that agents which were too fast make no calls any more."""
    rows = Happening.objects.filter(kind=Kind.VELOCITY, resolved_at__isnull=True)
    for row in rows.exclude(severity=Severity.OK).order_by("pk")[:1_000]:
        name, _, tool = row.scope.partition("/")
        agent_id = ids.parse_public("agt", name)
        if agent_id is None or (agent_id, tool) in active:
            continue
        tell(
            Kind.VELOCITY,
            tenant=row.tenant_id,
            scope=row.scope,
            severity=Severity.OK,
            text=f"{row.text.partition(' is invoking')[0]} is not invoking {tool}"
            " any more.",
            key="",
            customer_id=row.customer_id,
            url=row.url,
        )


def last_minute(now: dt.datetime) -> dt.datetime:
    """Return the last minute that is complete, some seconds after its end."""
    return (now - dt.timedelta(seconds=5)).replace(second=0, microsecond=0) - MINUTE
