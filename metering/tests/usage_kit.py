"""The worked examples of usage blocks, and what a call costs at given prices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

# Shapes are of the vendors' SDK types; numbers are synthetic, but for openai-02 and
# xai-01, which were quoted in public issues. The file tells its own provenance.
FILE = Path(__file__).parent / "cases" / "usage_blocks.json"


def examples() -> list[dict[str, Any]]:
    """Return the examples, numbers as the door reads them."""
    found: list[dict[str, Any]] = json.loads(FILE.read_text(), parse_float=Decimal)[
        "examples"
    ]
    return found


def example(name: str) -> dict[str, Any]:
    """Return one example by its id."""
    return next(e for e in examples() if e["id"] == name)


def leaves(measured: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the disjoint parts of inclusive totals, under the examples' names."""
    get = {n: Decimal(v) for n, v in measured.items() if not isinstance(v, bool)}.get
    zero = Decimal(0)
    short, long = get("cache_write_5m_tokens", zero), get("cache_write_1h_tokens", zero)
    found = {
        "cache_read": get("cache_read_tokens", zero),
        "cache_write_5m": short,
        "cache_write_1h": long,
        "cache_write": get("cache_write_tokens", zero) - short - long,
        "input_audio": get("input_audio_tokens", zero),
        "web_search": get("web_searches", zero),
        "output": get("output_tokens", zero),
    }
    inside = set(found) - {"web_search", "output"}
    rest = get("input_tokens", zero) - sum(found[name] for name in inside)
    found["input_text" if get("input_audio_tokens") else "input_uncached"] = rest
    return {name: count for name, count in found.items() if count}
