"""A stored event said anew with some things changed: what staff amend it with.

It comes in as any correction by API does: read and checked as a compound event, with
the payer, the credential, the session and all else that nobody changed as they were.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from aforo.lib import ids
from aforo.lib.errors import AforoError
from aforo.lib.money import plain
from metering import amending, implicit, ingest, shapes
from metering.background import background
from metering.canonical import bad
from metering.directory import Caller
from metering.identity import BACKFILL_AGE_MAX, Event
from metering.models import UsageEvent
from metering.shapes import Draft

# Members of a body that a correction keeps, beside those that can be changed.
KEPT = (
    "cost",
    "parent_id",
    "attempt_id",
    "error_type",
    "error_message",
    "retry_count",
    "is_parallel_call",
)
# Properties with a place of their own.
TOOL, MODEL = "tool", "model"


@dataclass(frozen=True, slots=True)
class Said:
    """What of an event can be changed; quantities and properties are texts."""

    event_type: str
    tool: str
    model: str
    occurred_at: dt.datetime
    product_id: uuid.UUID | None  # None: rating finds it among the contracts.
    measurements: Mapping[str, str]
    properties: Mapping[str, str]  # Without tool and model.


def said(event: UsageEvent) -> Said:
    """Return what a stored event says."""
    properties = dict(event.body.get("properties", {}))
    model = properties.pop(MODEL, "")
    tool = properties.pop(TOOL, "") or event.tool_name
    return Said(
        event.event_type,
        tool,
        model,
        event.occurred_at,
        event.product_id,
        dict(event.body.get("measurements", {})),
        properties,
    )


def is_same(one: Said, other: Said) -> bool:
    """Tell whether two say the same, quantities in any form."""
    plainly = [
        replace(each, measurements=_numbers(each.measurements)) for each in (one, other)
    ]
    return plainly[0] == plainly[1]


def keeps_block(event: UsageEvent, new: Said) -> bool:
    """Tell whether a correction keeps the provider's usage block.

    A block counts before what is said beside it: it goes where figures are changed.
    """
    same = _numbers(said(event).measurements) == _numbers(new.measurements)
    return "usage" in event.body and same


def _numbers(measurements: Mapping[str, str]) -> dict[str, str]:
    """Return quantities in one form; what is no number stays as it is."""
    found = {}
    for name, text in measurements.items():
        try:
            found[name] = plain(Decimal(text))
        except ArithmeticError:
            found[name] = text
    return found


def prepare(event: UsageEvent, new: Said) -> Event:
    """Return the correction as it would be stored; stores nothing.

    Raises AforoError as the ingest door does, with the field at fault: `eventType`,
    `timestamp`, `measurements.<name>`, `properties.<name>`, `properties.tool` …
    """
    caller = Caller(event.tenant_id, frozenset({"corrections"}), None, None)
    (made,) = background.run(
        ingest.prepare(caller, [_draft(event, new)], age_max=BACKFILL_AGE_MAX)
    )
    if isinstance(made, AforoError):
        raise made
    assert isinstance(made, Event), "a compound event is usage"
    return made


def _draft(event: UsageEvent, new: Said) -> Draft:
    """Return the correction as the door reads one."""
    body = json.loads(json.dumps(event.body), parse_float=Decimal)
    named = {TOOL: new.tool, MODEL: new.model}
    for name, text in named.items():
        if len(text) > shapes.PROPERTY_LIMITS[name]:
            most = shapes.PROPERTY_LIMITS[name]
            detail = f"at most {most} characters"
            raise bad("properties_too_large", detail, f"properties.{name}")
    raw: dict[str, Any] = {
        "eventType": new.event_type,
        # A call of a tool needs none; it gets its own back.
        "correlationId": event.correlation_id or "none",
        "timestamp": new.occurred_at.isoformat(),
        "properties": {**{n: t for n, t in named.items() if t}, **new.properties},
        "outcome": body.get("outcome"),
    }
    counted: Mapping[str, str] = new.measurements
    if keeps_block(event, new):
        raw["usage"] = body["usage"]
        counted = body.get("reading", {}).get("sent", {})
    if counted:
        raw["measurements"] = [
            {"metricKey": name, "value": text} for name, text in counted.items()
        ]
    draft = shapes.read(amending.named(raw, event))
    draft.correlation_id = event.correlation_id
    _keep(draft, event, body)
    if new.product_id != event.product_id:
        draft.names.pop("subscription", None)
        draft.names.pop("product", None)
    if new.product_id and "subscription" not in draft.names:
        draft.names["product"] = ids.public("prd", new.product_id)
    return draft


def _keep(draft: Draft, event: UsageEvent, body: Mapping[str, Any]) -> None:
    """Let a correction have what nobody changes: who, for what, in which session."""
    draft.request_id = event.request_id
    if not event.session_key.startswith(implicit.PREFIX):
        draft.session_key = event.session_key
    if not draft.status and "status" not in body.get("properties", {}):
        draft.status = event.status
    if "degraded" in event.flags:
        draft.flags.append("degraded")
    draft.body |= {name: body[name] for name in KEPT if name in body}
    names = draft.names
    names["customer"] = ids.public("cus", event.customer_id)
    credential, agent = event.credential, event.agent
    if credential is not None:
        names["key"] = credential.digest
    elif agent is not None:
        names["agent"] = ids.public("agt", agent.pk)
    # An owner's team follows from the agent; who else uses it has to be said.
    is_lent = agent is not None and agent.customer_id != event.customer_id
    if event.team_id and credential is None and (agent is None or is_lent):
        names["team"] = ids.public("tem", event.team_id)
    if contract := body.get("subscription_id"):
        names["subscription"] = ids.public("sub", uuid.UUID(contract))
    elif product := body.get("product"):
        names["product"] = product
