"""What the newest events of a product carry: names to offer where one is typed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.cache import cache

from aforo.lib import clock
from aforo.lib.invariants import rows
from catalog.models import Metric, Product, Tool
from metering.measurements import CANONICAL

# The newest events of the seller show what is sent, and are read in no time.
EVENTS_MAX = 5_000
DAYS = 30
NAMES_MAX = 200
REMEMBERED_S = 600
KINDS = ("tools", "measurements", "event_types", "properties")
NEWEST = """
WITH newest AS (
  SELECT event_type, tool_name, status, session_key, body FROM (
    SELECT * FROM metering_usageevent WHERE tenant_id = %(tenant)s
    ORDER BY id DESC LIMIT %(most)s
  ) newest_of_all
  WHERE product_id = %(product)s AND received_at >= %(since)s
)
SELECT 'event_types', event_type FROM newest
UNION SELECT 'tools', tool_name FROM newest WHERE tool_name <> ''
UNION SELECT 'properties', jsonb_object_keys(body->'properties') FROM newest
UNION SELECT 'measurements', jsonb_object_keys(body->'measurements') FROM newest
UNION SELECT 'outcomes', 'status' FROM newest WHERE status <> '' AND session_key <> ''
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The names of each kind, those of the product's events and known ones."""

    names: dict[str, list[str]]
    has_events: bool
    has_outcomes: bool  # Some event has a session and says how it ended.

    @property
    def notes(self) -> dict[str, str]:
        """What the traffic lacks for a parameter of a price, by its name."""
        if not self.has_events or self.has_outcomes:
            return {}
        lacks = "None of the product's newest events has both a session and a status."
        return {"error_threshold": lacks}


def seen(product: Product) -> Seen:
    """Return what to offer for a product; one statement, remembered for a while."""
    name = f"seen:{product.pk}"
    found = cache.get(name)
    if found is None:
        found = _read(product)
        cache.set(name, found, REMEMBERED_S)
    kinds: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for kind, text in found:
        kinds.setdefault(kind, set()).add(text)
    has_outcomes = bool(kinds.pop("outcomes", ()))
    has_events = bool(kinds["event_types"])
    tools = Tool.objects.filter(product=product, deprecated_at=None)
    kinds["tools"] |= set(tools.values_list("name", flat=True)[:NAMES_MAX])
    metrics = Metric.objects.filter(tenant=product.tenant_id).exclude(field="")
    kinds["measurements"] |= set(metrics.values_list("field", flat=True)) - {"cogs"}
    kinds["measurements"] |= CANONICAL
    return Seen(
        {kind: _sorted(texts) for kind, texts in kinds.items()},
        has_events,
        has_outcomes,
    )


def _read(product: Product) -> list[tuple[str, str]]:
    """Return kind and name of everything in the newest events."""
    return [
        (kind, name)
        for kind, name in rows(
            NEWEST,
            tenant=product.tenant_id,
            product=product.pk,
            since=clock.now() - dt.timedelta(days=DAYS),
            most=EVENTS_MAX,
        )
    ]


def _sorted(texts: Iterable[str]) -> list[str]:
    """Return names by the alphabet, as many as a list can show."""
    return sorted(texts)[:NAMES_MAX]
