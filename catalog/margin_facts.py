"""The margin ladder of a version in words, one figure at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog.limits import MARGIN_AMOUNTS
from catalog.pricing.words import money_words

# Key, label, words and, where it is a number, the figure itself.
Row = tuple[str, str, str, Decimal | None]


def margin_rows(limits: Mapping[str, Any], currency: str) -> Iterator[Row]:
    """Yield what a version says of margins and of its cheaper model."""
    for name, said in (limits.get("margin") or {}).items():
        key, label = f"margin.{name}", f"Margin: {name.replace('_', ' ')}"
        if isinstance(said, list):
            yield key, label, ", ".join(said) or "none", None
        elif said is None:
            yield key, label, "off", None
        elif name in MARGIN_AMOUNTS:
            yield key, label, money_words(Decimal(said), currency), Decimal(said)
        else:
            yield key, label, f"below {plain(Decimal(said))} %", Decimal(said)
    if limits.get("throttle_model"):
        yield "throttle_model", "Cheaper model", limits["throttle_model"], None
