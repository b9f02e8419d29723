"""Agents and their credentials, with the caps of agents and teams, as edge state."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from aforo.lib import ids, money
from billing import agent_spend
from guard.engine import state

Row = Any


def milliseconds(instant: dt.datetime) -> int:
    """Return an instant as milliseconds since 1970, rounded down."""
    return int(instant.timestamp() * 1000)


def micros(amount: str | Decimal | None) -> int | None:
    """Return a cap in micros, rounded down; None stays None."""
    return None if amount is None else money.micros_down(Decimal(amount))


def credential(row: Row) -> state.Credential:
    """Return the edge's record of a credential."""
    return state.Credential(
        id=ids.public("crd", row.id),
        agent_id=ids.public("agt", row.agent_id),
        client_id=row.client_id,
        revoked=row.revoked_at is not None,
        expires_at=milliseconds(row.expires_at) if row.expires_at else None,
        products=tuple(ids.public("prd", product) for product in row.product_ids),
    )


def names(row: Row) -> list[str]:
    """Return the names that an agent goes by."""
    return [name for name in (ids.public("agt", row.id), row.external_id) if name]


def record(row: Row, customer_id: uuid.UUID) -> tuple[state.Agent, list[str]]:
    """Return the edge's record of an agent for a customer, and the agent's names.

    Caps are in the currency of the agent's own customer and bind what that one pays.
    """
    own = row.customer_id == customer_id
    agent = state.Agent(
        id=ids.public("agt", row.id),
        state=row.state,
        team_id=ids.public("tem", row.team_id),
        team_external_id=row.team_external_id or None,
        spend_cap=micros(row.spend_cap) if own else None,
        team_spend_cap=micros(row.team_spend_cap) if own else None,
    )
    return agent, names(row)


def spends(periods: Collection[uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    """Return by customer the micros of capped agents and teams, by public id.

    Rounded up, never below zero; one statement.
    """
    found: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for one in agent_spend.of_capped(periods):
        spent = max(0, money.micros_up(one.amount))
        found[one.customer_id][ids.public(one.prefix, one.subject_id)] = spent
    return found
