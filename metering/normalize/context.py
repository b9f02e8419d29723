"""What in a response selects another price than the ordinary one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metering.normalize.reading import TEXT_MAX

# Our property, and under which names it comes.
NAMES = {
    "speed": ("speed",),
    "service_tier": ("service_tier", "serviceTier", "trafficType", "traffic_type"),
    "region": ("inference_geo", "region"),
}
# What says that nothing is special.
ORDINARY = frozenset(
    """standard default auto on_demand normal global not_available
    traffic_type_unspecified unspecified""".split()
)
MODEL = ("model", "modelVersion", "model_version")


def context(usage: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what a block or the response around it says of its price, in lower case.

    Ordinary values are left out: a block that names the standard tier costs what one
    without any tier costs.
    """
    found: dict[str, str] = {}
    for name, spellings in NAMES.items():
        for spelling in spellings:
            value = _text(usage.get(spelling)) or _text(facts.get(spelling))
            if value and value.lower() not in ORDINARY:
                found.setdefault(name, value.lower())
    return found


def model_of(facts: Mapping[str, Any]) -> str:
    """Return the model that a response names; empty without one."""
    return next((text for name in MODEL if (text := _text(facts.get(name)))), "")


def _text(value: Any) -> str:
    """Return a short text, or one inside {"type": …}; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("type")
    return value if isinstance(value, str) and len(value) <= TEXT_MAX else ""
