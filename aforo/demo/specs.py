"""What products and plans of the demo are written in, and what is counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.models import Metric, ProductType
from catalog.units import many

COUNT, SUM = Metric.Aggregation.COUNT, Metric.Aggregation.SUM
TOOL_EVENT = "mcp.tool_invoked"
SEARCH_EVENT = "api.request"
STORAGE_EVENT = "s3.put"
SESSION_DONE = "session.completed"
DOC_PARSED = "doc.parsed"
VECTORS_SEARCHED = "vectors.searched"
REOPENED = "contract.reopened"

# Codes of products: what events name.
SEARCH, CODE = "search-api", "code-completion"
CONVERSATION, AIRLINE = "conversation-agent", "airline-support"
WAREHOUSE, FILES = "warehouse-mcp", "files-mcp"
CONTRACT = "contract-review"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric: what it counts and in which field of events."""

    name: str
    unit: str
    aggregation: Metric.Aggregation = SUM
    field: str = ""
    event_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A rate plan: the charges of its JSON, and the guard's limits."""

    name: str
    charges: Sequence[Mapping[str, Any]]
    limits: Mapping[str, Any]
    # What holds for the whole plan, by the first day of the history's first month.
    terms: Callable[[dt.date], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """A product with its tools (and what a call of each costs us) and its plans."""

    name: str
    type: ProductType
    description: str
    plans: Mapping[str, PlanSpec]  # By the plan's code.
    tools: Mapping[str, str] = field(default_factory=dict)  # Name: cost of a call.


METRICS: Mapping[str, MetricSpec] = {
    "search_requests": MetricSpec(
        "Search requests", "request", field="requests", event_types=(SEARCH_EVENT,)
    ),
    "uncached_input": MetricSpec(
        "Input tokens, not cached", "token", field="input_uncached_tokens"
    ),
    "cached_input": MetricSpec(
        "Input tokens from cache", "token", field="cache_read_tokens"
    ),
    "input": MetricSpec("Input tokens", "token", field="input_tokens"),
    "output": MetricSpec("Output tokens", "token", field="output_tokens"),
    "stored_bytes": MetricSpec(
        "Bytes written", "byte", field="bytes_written", event_types=(STORAGE_EVENT,)
    ),
    "tool_calls": MetricSpec(
        "Tool calls", "call", aggregation=COUNT, event_types=(TOOL_EVENT,)
    ),
    "pages": MetricSpec("Pages read", "page", field="pages", event_types=(DOC_PARSED,)),
    "resolutions": MetricSpec(
        "Resolved conversations",
        "conversation",
        aggregation=COUNT,
        event_types=(SESSION_DONE,),
    ),
    "inference_cost": MetricSpec("Inference cost", "USD", field="cogs"),
}


def charge(
    key: str, name: str, metric: str, price: Mapping[str, Any], **filters: Any
) -> dict[str, Any]:
    """Return one charge of plan JSON, counted in the units of its metric."""
    row: dict[str, Any] = {"key": key, "name": name, "metric": metric, "price": price}
    row["unit"] = many(METRICS[metric].unit)
    if filters:
        row["filter"] = filters
    return row


def fee(name: str, amount: str) -> dict[str, Any]:
    """Return a fixed monthly amount, due in advance."""
    price = {"model": "flat", "amount": amount, "due": "advance"}
    return {"key": "platform", "name": name, "price": price}


def each(amount: str, per: int = 1) -> dict[str, Any]:
    """Return one price for every unit."""
    return {"model": "per_unit", "unit_amount": amount, "per": per}


def tiers(model: str, per: int, *tiers: tuple[str | None, str]) -> dict[str, Any]:
    """Return graduated or volume prices as (up to, price)."""
    rows = [{"up_to": up_to, "unit_amount": amount} for up_to, amount in tiers]
    return {"model": model, "per": per, "tiers": rows}


MILLION = 1_000_000
TOKEN_ESTIMATE = {"input_tokens": "0.000004", "output_tokens": "0.000014"}


def limits(requests: int, tokens: int | None = None, **others: Any) -> dict[str, Any]:
    """Return the guard's limits of a plan: per minute, and what a call may cost."""
    return {
        "requests_per_minute": requests,
        "tokens_per_minute": tokens,
        **others,
    }
