"""Which price of a model a call had: its names, provider, context, region and hour."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

# What reporters call a provider, and what the rates call it.
PROVIDERS = {
    "amazon": "aws",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "together_ai": "together",
    "togetherai": "together",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
# Before a "/" these name who serves the model; anything else may be part of its name.
KNOWN = frozenset(PROVIDERS.values()) | frozenset(
    """anthropic cerebras cohere deepseek groq meta moonshotai openai openrouter
    perplexity""".split()
)
# Bedrock's inference profiles: global ones have the base price, the others a regional.
GEOS = ("us", "eu", "apac", "au", "jp", "in", "ca", "us-gov")
_GEO = re.compile(rf"^({'|'.join(GEOS)})\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(
    r"^(global|regional)?\.?(anthropic|amazon|meta|mistral|cohere|deepseek|openai)\."
)
_VERSION = re.compile(r"(-v\d+)?(:\d+)$|-v\d+$")
_DATED = re.compile(r"[-@](20\d{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])|latest)$")
_DOT = re.compile(r"(?<=\d)\.(?=\d)")
_PATH = re.compile(r"^(models/|publishers/[^/]+/models/)")

# Values that say that nothing special was asked for.
ORDINARY = frozenset(
    """auto default global no none normal not_available null on-demand on_demand
    regular standard standard_only""".split()
) | {""}
# Where a request says how it is handled. `requestType` is the seller's own word and
# means a price of the provider in one case only.
CONTEXT_PROPERTIES = ("service_tier", "serviceTier", "speed", "processing")
REGION_PROPERTIES = ("region", "inference_geo")
_READ = ("provider", "requestType", *CONTEXT_PROPERTIES, *REGION_PROPERTIES)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Situation(NamedTuple):
    """What decides the price of a call besides its model, hour and length."""

    provider: str = ""  # As the rates name it; empty: not told.
    context: str = ""  # "batch", "fast", "batch+priority" …; empty: the usual one.
    region: str = ""


def provider_name(told: str) -> str:
    """Return what the rates call a provider."""
    name = told.strip().lower()
    return PROVIDERS.get(name, name)


def situation(properties: Mapping[str, str]) -> Situation:
    """Return under which circumstances an event was handled.

    What is not known to be ordinary is a context of its own: without a rate for it
    the cost is unknown, and never silently the full price.
    """
    return _situation(*map(properties.get, _READ))


@lru_cache(maxsize=4096)
def _situation(*told: str | None) -> Situation:
    """Return the situation of the values of _READ."""
    provider, request, *rest = ((value or "").strip().lower() for value in told)
    asked = set(rest[: len(CONTEXT_PROPERTIES)]) - ORDINARY
    if request == "batch":
        asked.add(request)
    regions = set(rest[len(CONTEXT_PROPERTIES) :]) - ORDINARY
    return Situation(
        provider_name(provider), "+".join(sorted(asked)), min(regions, default="")
    )


@lru_cache(maxsize=4096)
def names(model: str) -> tuple[tuple[str, str], ...]:
    """Return as what a model may be listed, the likeliest first: (provider, name).

    The provider is empty where the name does not tell it. The exact name comes
    first, then without provider prefix, with Bedrock's profile, without version and
    date: `us.anthropic.claude-sonnet-4-5-20250929-v1:0` is claude-sonnet-4-5.
    """
    return tuple(dict.fromkeys(_names(model)))


def _names(model: str) -> Iterator[tuple[str, str]]:
    """Yield the candidates of `names`."""
    yield "", model
    provider, name = "", _PATH.sub("", model.lower())
    yield "", name
    while "/" in name:
        prefix, rest = name.split("/", 1)
        if provider_name(prefix) not in KNOWN:
            break
        provider, name = provider_name(prefix), _PATH.sub("", rest)
        yield provider, name
    forms = [name]
    if _GEO.match(name) or _VENDOR.match(name):
        provider = provider or "aws"
        bare = _GEO.sub("", name)
        if _GEO.match(name) or not name.startswith(("global.", "regional.")):
            forms += [f"regional.{bare}", bare]
        forms.append(_VENDOR.sub("", bare))
    for form in forms:
        short = _VERSION.sub("", form)
        for text in (form, short, _DATED.sub("", short)):
            yield provider, text
            yield provider, _DOT.sub("-", text)


class Window(NamedTuple):
    """Hours of the day (UTC) and days of the week at which a rate holds."""

    days: frozenset[int]  # Monday is 0.
    start: int  # Minutes after midnight.
    end: int  # Not included; before the start: it passes midnight.

    def active(self, at: dt.datetime) -> bool:
        """Tell whether an instant is inside; a night belongs to the day it began."""
        utc = at.astimezone(dt.UTC)
        minute, day = utc.hour * 60 + utc.minute, utc.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


@lru_cache(maxsize=256)
def window(text: str) -> Window | None:
    """Read "01:00-04:00" or "mon-fri 01:00-04:00"; None for the empty text.

    Raises ValueError.
    """
    if not text:
        return None
    *first, hours = text.lower().split()
    if len(first) > 1:
        raise ValueError(f"`{text}` is not like `mon-fri 01:00-04:00`")
    start, end = (_minutes(part) for part in hours.split("-"))
    if start == end:
        raise ValueError(f"`{text}` begins where it ends")
    return Window(_days(first[0]) if first else frozenset(range(7)), start, end)


def _minutes(text: str) -> int:
    """Return the minutes after midnight of "01:30"."""
    hour, minute = text.split(":")
    if not (0 <= int(hour) < 24 and 0 <= int(minute) < 60):
        raise ValueError(f"`{text}` is no time of the day")
    return int(hour) * 60 + int(minute)


def _days(text: str) -> frozenset[int]:
    """Return the days of "mon-fri" or "sat,sun"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = DAYS.index(first), DAYS.index(last or first)
        found.update(
            range(start, end + 1)
            if start <= end
            else {*range(start, 7), *range(end + 1)}
        )
    return frozenset(found)
