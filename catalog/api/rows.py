"""How the catalog API shows its rows."""

from __future__ import annotations

import datetime as dt
from typing import Any

from catalog.models import Metric, Plan, PlanVersion, Product
from catalog.plans import describe
from catalog.pricing import parse_plan


def _time(value: dt.datetime | None) -> str | None:
    """Return an instant as RFC 3339 in UTC."""
    return None if value is None else value.astimezone(dt.UTC).isoformat()


def product(row: Product) -> dict[str, Any]:
    """Return a product."""
    return {
        "id": row.public_id,
        "code": row.code,
        "name": row.name,
        "type": row.type,
        "description": row.description,
        "features": row.features,
        "self_reporting": row.self_reporting,
        "session_idle_s": row.session_idle_s,
        "session_expire_s": row.session_expire_s,
        "implicit_sessions": row.implicit_sessions,
        "max_call_s": row.max_call_s,
        "created_at": _time(row.created_at),
    }


def metric(row: Metric) -> dict[str, Any]:
    """Return a metric."""
    return {
        "id": row.public_id,
        "code": row.code,
        "name": row.name,
        "description": row.description,
        "aggregation": row.aggregation,
        "field": row.field,
        "event_types": row.event_types,
        "window": row.window,
        "unit": row.unit,
        "integer_only": row.integer_only,
        "created_at": _time(row.created_at),
    }


def plan(row: Plan) -> dict[str, Any]:
    """Return a plan; its product must have been read with it."""
    return {
        "id": row.public_id,
        "code": row.code,
        "name": row.name,
        "description": row.description,
        "product": row.product.public_id,
        "created_at": _time(row.created_at),
    }


def version(row: PlanVersion) -> dict[str, Any]:
    """Return a version of a plan with its charges; the plan must have been read."""
    draft = row.state == PlanVersion.State.DRAFT
    return {
        "id": row.public_id,
        "plan": row.plan.public_id,
        "number": row.number,
        "state": row.state,
        "currency": row.currency,
        "charges": row.body.get("charges", []),
        "currencies": row.body.get("currencies", {}),
        "levels": row.body.get("levels", []),
        "minimum": row.body.get("minimum"),
        "maximum": row.body.get("maximum"),
        "discounts": row.body.get("discounts", []),
        "limits": row.limits,
        "prorate": row.prorate,
        # Parsed here: what is not committed yet must not enter the cache of plans.
        "summary": None if draft else describe(parse_plan(row.body, published=True)),
        "created_at": _time(row.created_at),
        "published_at": _time(row.published_at),
    }
