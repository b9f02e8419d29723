"""What the page of an event says beside its figures: of its tool, of what is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Q

from aforo.lib.money import display
from catalog.cost_lines import CostLine
from catalog.models import Product, Tool
from catalog.pricing.counted import uncounted
from catalog.tools import Listed, Name, registry
from metering import rated
from metering.models import UsageEvent
from portal.selectors.events import Story

MILLION = 1_000_000
OF_EVENT = f"{rated.RECORDED} AND e.id = %b LIMIT 1"


@dataclass(frozen=True, slots=True)
class ToolNote:
    """The tool that an event names, and what its product's registry knows of it."""

    name: str  # In the event.
    listed_as: str  # The name that it was registered under; empty: not registered.
    is_deprecated: bool  # At the time of the event.
    product: Product | None  # Whose registry it is; None: nobody knows which.


def tool_note(event: UsageEvent, product: Product | None) -> ToolNote | None:
    """Return what is known of the tool at the event's time; None without a tool.

    `product` is that of the event, or of the contract that paid. Two statements.
    """
    name = event.tool_name
    if not name:
        return None
    if product is None:
        return ToolNote(name, "", False, None)
    rows = Tool.objects.filter(Q(name=name) | Q(names__name=name), product=product)
    known = registry(
        Listed(
            tool.name,
            tool.deprecated_at,
            tuple(
                Name(n.name, n.version, n.valid_from, n.valid_to)
                for n in tool.names.all()
            ),
        )
        for tool in rows.distinct().prefetch_related("names")
    )
    found = known.resolve(name, event.occurred_at)
    if found is None:
        return ToolNote(name, "", False, product)
    return ToolNote(name, found.name, found.is_deprecated, product)


def uncharged(told: Story, measured: Mapping[str, str]) -> frozenset[str]:
    """Return which measurements no charge of the plan counts; one statement.

    None of an event that has no price yet, and of one that was taken back.
    """
    if told.plan is None or told.void is not None:
        return frozenset()
    event = told.event
    found = next(rated.read([event.tenant_id], OF_EVENT, [event.pk]), None)
    if found is None:
        return frozenset()
    _, usage = found
    return uncounted(told.plan.plan, usage.event_type, usage.properties, measured)


def rate_words(line: CostLine, currency: str) -> str:
    """Return the rate of a line as people read it: that of tokens for a million."""
    if not line.unit.endswith("tokens"):
        return display(line.price, currency)
    return f"{display(line.price * MILLION, currency)} per 1M"
