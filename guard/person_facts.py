"""What people decided on a customer, as the edge keeps it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from aforo.lib import ids
from guard.engine import state
from guard.models import Override

# Rows of guard.statements.DECIDED, those of one customer.
Decided = Sequence[Any]
OBSERVE = "observe"


def _milliseconds(instant: dt.datetime) -> int:
    return int(instant.timestamp() * 1000)


def _last(ends: list[dt.datetime]) -> int | None:
    return _milliseconds(max(ends)) if ends else None


def exemptions(decided: Decided) -> tuple[state.Exemption, ...]:
    """Return the limits that do not bind for a time, those for one call last.

    So a call that a release covers takes no exemption for one call.
    """
    found = [
        state.Exemption(
            id=ids.public(Override.public_prefix, row.id),
            limit=row.name,
            agent_id=ids.public("agt", row.agent_id) if row.agent_id else None,
            ends_at=_milliseconds(row.ends_at),
            once=row.kind == Override.Kind.ONCE,
        )
        for row in decided
        if row.kind in (Override.Kind.RELEASE, Override.Kind.ONCE)
    ]
    return tuple(sorted(found, key=lambda one: one.once))


def observe_until(decided: Decided) -> int | None:
    """Return until when limits only report, in ms; None: they are enforced."""
    return _last([row.ends_at for row in decided if row.kind == OBSERVE])


def throttled_until(decided: Decided, agent_id: uuid.UUID | None) -> int | None:
    """Return until when an agent, or the whole customer (None), is slowed, in ms."""
    return _last(
        [
            row.ends_at
            for row in decided
            if row.kind == Override.Kind.THROTTLE and row.agent_id == agent_id
        ]
    )


def slowed(
    agents: Iterable[tuple[uuid.UUID, tuple[state.Agent, list[str]]]], decided: Decided
) -> list[tuple[state.Agent, list[str]]]:
    """Return agents, and the names they go by, with the throttles that lie on them."""
    return [
        (structs.replace(agent, throttled_until=until), names)
        if (until := throttled_until(decided, agent_id))
        else (agent, names)
        for agent_id, (agent, names) in agents
    ]
