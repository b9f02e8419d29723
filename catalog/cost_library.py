"""The public price list as rates: every unit, context, tier and hour it knows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from genai_prices import __version__ as LIBRARY_VERSION
from genai_prices import data_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from aforo.lib.errors import AforoError
from aforo.lib.money import QUANTUM

__all__ = ["LIBRARY_VERSION", "Key", "Span", "faults", "model", "models", "spans"]

# Since when a price without a date is taken to be true: before any event.
SINCE_EVER = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
MILLION, THOUSAND, HOUR = 1_000_000, 1_000, 3_600
# The list's key of a price: our unit, and of how many units it is the price.
UNITS: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input_uncached_tokens", MILLION),
    "cache_read_mtok": ("cache_read_tokens", MILLION),
    "cache_write_mtok": ("cache_write_tokens", MILLION),
    "cache_write_5m_mtok": ("cache_write_5m_tokens", MILLION),
    "cache_write_1h_mtok": ("cache_write_1h_tokens", MILLION),
    "input_audio_mtok": ("input_audio_tokens", MILLION),
    "input_image_mtok": ("input_image_tokens", MILLION),
    "input_video_mtok": ("input_video_tokens", MILLION),
    "cache_audio_read_mtok": ("cache_audio_read_tokens", MILLION),
    "cache_image_read_mtok": ("cache_image_read_tokens", MILLION),
    "output_mtok": ("output_tokens", MILLION),
    "output_audio_mtok": ("output_audio_tokens", MILLION),
    "output_image_mtok": ("output_image_tokens", MILLION),
    "output_video_mtok": ("output_video_tokens", MILLION),
    "output_reasoning_mtok": ("reasoning_tokens", MILLION),
    "output_citation_mtok": ("citation_tokens", MILLION),
    "web_searches_kcount": ("web_searches", THOUSAND),
    "storage_searches_kcount": ("storage_searches", THOUSAND),
    "requests_kcount": ("requests", THOUSAND),
    "input_document_kpages": ("pages", THOUSAND),
    "input_annotated_document_kpages": ("annotated_pages", THOUSAND),
    "input_mchars": ("input_characters", MILLION),
    "audio_hours": ("audio_seconds", HOUR),
}
# What a request context of the list is called here; others we do not read.
CONTEXT_KEYS = frozenset({"processing", "service_tier", "speed"})
# Before these days the list had no prices for such requests, and gave the full one.
CONTEXTS_SINCE = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)


class Key(NamedTuple):
    """What a rate is the rate of, besides provider and model."""

    unit: str
    context: str = ""
    region: str = ""
    above_tokens: int = 0
    hours: str = ""


class Span(NamedTuple):
    """An amount of so many units over a time."""

    amount: Decimal
    per: int
    valid_from: dt.datetime
    valid_to: dt.datetime | None


class Fault(NamedTuple):
    """Something in the list that would give a wrong cost if it were believed."""

    kind: str
    detail: str


def models(providers: Iterable[str] = ()) -> Iterator[tuple[str, ModelInfo]]:
    """Yield the models of the list with their provider's id."""
    wanted = frozenset(providers)
    for provider in data_snapshot.get_snapshot().providers:
        if not wanted or provider.id in wanted:
            for info in provider.models:
                yield provider.id, info


def model(provider: str, name: str) -> ModelInfo:
    """Return a model of the list by its own id; AforoError 422 `unknown_model`."""
    for _, info in models([provider]):
        if info.id == name:
            return info
    detail = f"The price list has no model {name} of {provider}."
    raise AforoError("unknown_model", 422, detail, field="model")


def spans(info: ModelInfo) -> dict[Key, list[Span]]:
    """Return the rates of a model over time, in order; nothing that is not listed.

    A price that holds at some hours only is a rate with hours beside the usual one.
    """
    found: dict[Key, list[Span]] = {}
    for hours in ("", *_windows(info)):
        starts = _starts(info)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            prices = _prices_at(info, start, hours)
            if prices is not None:
                _put(found, prices, "", hours, start, end)
    for context, start, end, prices in _variants(info):
        _put(found, prices, context, "", start, end)
    return {key: _joined(rows) for key, rows in found.items()}


def _conditions(info: ModelInfo) -> list[ConditionalPrice]:
    """Return the prices of a model with their conditions, the last that holds wins."""
    if isinstance(info.prices, ModelPrice):
        return [ConditionalPrice(prices=info.prices)]
    return list(info.prices)


def _starts(info: ModelInfo) -> list[dt.datetime]:
    """Return the instants at which prices change, since ever first."""
    days = {
        dt.datetime.combine(c.constraint.start_date, dt.time(), dt.UTC)
        for c in _conditions(info)
        if isinstance(c.constraint, StartDateConstraint)
    }
    return sorted({SINCE_EVER, *days})


def _hours(constraint: TimeOfDateConstraint) -> str:
    """Return a daily interval as rates have it."""
    start, end = constraint.start_time, constraint.end_time
    return f"{start:%H:%M}-{end:%H:%M}"


def _windows(info: ModelInfo) -> list[str]:
    """Return the daily intervals that have prices of their own."""
    return sorted(
        {
            _hours(c.constraint)
            for c in _conditions(info)
            if isinstance(c.constraint, TimeOfDateConstraint)
        }
    )


def _prices_at(info: ModelInfo, at: dt.datetime, hours: str) -> ModelPrice | None:
    """Return what holds from an instant on, in a daily interval or in none.

    None where the interval says nothing else than the usual price. A price by the
    hour has no date of its own in the list, so it is believed from the last dated
    change on: before that day the list itself did not know of it.
    """
    rows = _conditions(info)
    dated = [
        c
        for c in rows
        if c.constraint is None
        or (isinstance(c.constraint, StartDateConstraint) and c.constraint.active(at))
    ]
    usual = dated[-1] if dated else rows[0]
    if not hours:
        return usual.prices
    for row in rows:
        limit = row.constraint
        if isinstance(limit, TimeOfDateConstraint) and _hours(limit) == hours:
            return row.prices if at == _starts(info)[-1] else None
    return None


def _variants(
    info: ModelInfo,
) -> Iterator[tuple[str, dt.datetime, dt.datetime | None, ModelPrice]]:
    """Yield the prices of request contexts that we read, each with its time."""
    by_context: dict[str, list[tuple[dt.datetime, ModelPrice]]] = {}
    for variant in info.price_variants or ():
        if not variant.when.keys() <= CONTEXT_KEYS:
            continue
        context = "+".join(sorted(v for v in variant.when.values() if v != "default"))
        if not context or isinstance(variant.constraint, TimeOfDateConstraint):
            continue
        start = SINCE_EVER
        if variant.constraint is not None:
            day = variant.constraint.start_date
            start = dt.datetime.combine(day, dt.time(), dt.UTC)
        by_context.setdefault(context, []).append((start, variant.prices))
    for context, rows in by_context.items():
        rows.sort(key=lambda row: row[0])
        ends = [*(start for start, _ in rows[1:]), None]
        for (start, prices), end in zip(rows, ends, strict=True):
            yield context, start, end, prices


def _put(
    found: dict[Key, list[Span]],
    prices: ModelPrice,
    context: str,
    hours: str,
    start: dt.datetime,
    end: dt.datetime | None,
) -> None:
    """Add the prices of one time."""
    for name, (unit, per) in UNITS.items():
        price = getattr(prices, name, None)
        if price is None:
            continue  # Not priced is not known; it never means that it costs nothing.
        steps = {0: price}
        if isinstance(price, TieredPrices):
            steps = {0: price.base} | {t.start: t.price for t in price.tiers}
        for above, listed in steps.items():
            # The list has figures such as 0.18000000000000002, made by a float.
            amount = listed.quantize(QUANTUM)
            each = amount / per
            exact = each == each.quantize(QUANTUM)
            span = Span(each if exact else amount, 1 if exact else per, start, end)
            key = Key(unit, context, "", above, hours)
            found.setdefault(key, []).append(span)


def _joined(rows: list[Span]) -> list[Span]:
    """Return spans in order, those of one amount that follow each other as one."""
    done: list[Span] = []
    for row in sorted(rows, key=lambda span: span.valid_from):
        last = done[-1] if done else None
        if last and last.valid_to == row.valid_from and last[:2] == row[:2]:
            done[-1] = last._replace(valid_to=row.valid_to)
        else:
            done.append(row)
    return done


def faults(info: ModelInfo) -> list[Fault]:
    """Return what is known to be wrong or missing in the list's prices of a model.

    The list takes what it does not price for free and what it does not know for
    ordinary; here both are unknown, and the faults say where that will be seen.
    """
    found: list[Fault] = []
    usual = _conditions(info)[-1].prices
    for variant in info.price_variants or ():
        context = " ".join(f"{k}={v}" for k, v in sorted(variant.when.items()))
        priced = {k for k in UNITS if getattr(variant.prices, k, None) is not None}
        if not priced:
            continue  # "default" is the usual price, said once more.
        if not variant.when.keys() <= CONTEXT_KEYS:
            found.append(Fault("context_not_read", f"{context} is not told by events"))
            continue
        constraint = variant.constraint
        if isinstance(constraint, StartDateConstraint) and (
            constraint.start_date >= CONTEXTS_SINCE.date()
        ):
            day = constraint.start_date
            text = f"{context} before {day} has the full price in the list"
            found.append(Fault("context_since", text))
        lacking = sorted(
            k
            for k in UNITS
            if k.endswith("_mtok") and k not in priced and getattr(usual, k, None)
        )
        if lacking:
            names = ", ".join(lacking)
            found.append(Fault("context_partial", f"{context} has no {names}"))
    if _windows(info):
        text = "prices by the hour have neither weekday nor date in the list"
        found.append(Fault("no_weekdays", text))
    for name in vars(usual):
        if name not in UNITS and name != "input_audio_hours":
            found.append(Fault("unit_not_read", f"{name} is not measured by events"))
    return found
