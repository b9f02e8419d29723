"""Which of an event's measurements the charges of a plan count, and which none does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.dimensions import DURATIONS
from catalog.pricing.plan import Charge, Plan, Source
from catalog.pricing.program import program_of

# What each measurement is a part of, so that a charge of the whole charges it too.
WHOLE_OF: Mapping[str, str] = {
    "input_tokens": "total_tokens",
    "output_tokens": "total_tokens",
    "input_uncached_tokens": "input_tokens",
    "cache_read_tokens": "input_tokens",
    "cache_write_tokens": "input_tokens",
    "cache_audio_read_tokens": "cache_read_tokens",
    "cache_image_read_tokens": "cache_read_tokens",
    "cache_write_5m_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_tokens",
    **dict.fromkeys(
        """input_audio_tokens input_image_tokens input_video_tokens input_text_tokens
        input_tool_tokens""".split(),
        # Derived as all the input that no cache held, of whatever kind.
        "input_uncached_tokens",
    ),
    **dict.fromkeys(
        """reasoning_tokens citation_tokens output_audio_tokens output_image_tokens
        output_video_tokens output_text_tokens""".split(),
        "output_tokens",
    ),
}
# An event is one call: a charge that counts events charges these.
CALLS = frozenset({"requests", "tool_calls"})


def uncounted(
    plan: Plan, event_type: str, properties: Mapping[str, str], names: Iterable[str]
) -> frozenset[str]:
    """Return which of an event's measurements no charge of the plan counts.

    A part is counted with its whole; a whole of which a charge counts some part is not
    named, its other parts are. A charge of our cost counts whatever the cost is of, and
    what the price of an outcome covers counts too.
    """
    # What an outcome's price covers is covered in events of every type.
    models = [charge.model for charge in plan.charges]
    counted = {n for m in models if isinstance(m, Compound) for n in m.absorbs}
    for route in program_of(plan).routes(event_type, properties):
        charge = plan.charges[route.index]
        found = _names(charge)
        if "" in found:
            return frozenset()
        counted |= found
    in_parts = {whole for name in counted for whole in _wholes(name)}
    return frozenset(
        name
        for name in names
        if name not in counted
        and name not in in_parts
        and counted.isdisjoint(_wholes(name))
    )


def _names(charge: Charge) -> set[str]:
    """Return the measurements that a charge counts; an empty name: our cost."""
    model, metric = charge.model, charge.metric
    if isinstance(model, Dimensions):
        timed = DURATIONS if model.buckets else ()
        by_tool = model.tools or model.volume_rates or model.other_tools is not None
        return {*model.tokens, *timed, *(CALLS if by_tool else ())}
    if isinstance(model, Recipe):
        return {weight.measurement for weight in model.weights}
    if isinstance(model, Compound):
        return set()
    if metric is None or metric.source is Source.PROPERTY:
        return set()
    if metric.source is Source.EVENT:
        return {*CALLS}
    return {"" if metric.source is Source.COGS else metric.field}


def _wholes(name: str) -> list[str]:
    """Return what a measurement is a part of, the nearest first."""
    found = []
    while whole := WHOLE_OF.get(name):
        found.append(whole)
        name = whole
    return found
