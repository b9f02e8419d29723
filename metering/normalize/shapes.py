"""Which API a block comes from, told by its fields and never by a provider's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from metering.normalize import (
    anthropic,
    bedrock,
    gemini,
    media,
    openai_chat,
    openai_responses,
)
from metering.normalize.reading import Block


class Shape(NamedTuple):
    """One form of usage block."""

    api: str
    fits: Callable[[Mapping[str, Any]], bool]
    measure: Callable[[Block], dict[str, int | Decimal]]
    provider: str  # Who alone sends this form; empty where many do.


# In this order: the first that fits is taken. A pair of input_tokens and
# output_tokens without more is read alike by all that have these names.
SHAPES = (
    Shape(gemini.API, gemini.fits, gemini.measure, "google"),
    Shape(bedrock.API, bedrock.fits, bedrock.measure, "aws"),
    Shape(openai_chat.API, openai_chat.fits, openai_chat.measure, ""),
    Shape(anthropic.API, anthropic.fits, anthropic.measure, "anthropic"),
    Shape(openai_responses.API, openai_responses.fits, openai_responses.measure, ""),
    Shape(
        openai_responses.BARE_API,
        openai_responses.fits_bare,
        openai_responses.measure,
        "",
    ),
    Shape(media.API, media.fits, media.measure, ""),
)


def shape_of(fields: Mapping[str, Any]) -> Shape | None:
    """Return the form of a block; None for one that nobody here knows."""
    return next((shape for shape in SHAPES if shape.fits(fields)), None)
