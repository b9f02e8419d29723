"""What is allowed in rates by dimension and still looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.pricing.agentic import Dimensions
from catalog.pricing.findings import Finding
from catalog.pricing.plan import Plan


def dimension_findings(plan: Plan) -> Iterator[Finding]:
    """Find rates by dimension that some usage escapes or that never apply."""
    for charge in plan.charges:
        model = charge.model
        if not isinstance(model, Dimensions):
            continue
        if not _has_rate(model):
            message = f"{charge.name} prices nothing: it has no rate and no fee"
            yield Finding("prices_nothing", (charge.key,), message)
        if model.tools and model.other_tools is None and not model.volume_rates:
            message = "calls of tools without a rate are free: give other tools (*) one"
            yield Finding("unlisted_tools_free", (charge.key,), message)
        if model.tools and model.volume_rates:
            message = "volume tiers price other tools only: named tools keep their rate"
            yield Finding("named_tools_keep_rate", (charge.key,), message)
        if model.other_tools is not None and model.volume_rates:
            message = "volume tiers replace the rate of *, which is never used"
            yield Finding("rate_unused", (charge.key,), message)
        if model.multipliers and not model.tokens:
            message = "tool multipliers multiply token rates, and there are none"
            yield Finding("multipliers_unused", (charge.key,), message)
        if model.included_tools and not model.session_fee:
            message = "calls are included in every session, and a session has no fee"
            yield Finding("included_without_fee", (charge.key,), message)
        committed = model.commitment
        if committed is not None and model.other_tools is not None:
            beyond = model.other_tools * committed.amount
            if beyond < committed.price:
                message = (
                    "a call beyond the commitment costs less than one within it: "
                    "committing costs more than paying as one goes"
                )
                yield Finding("commitment_dearer", (charge.key,), message)


def _has_rate(model: Dimensions) -> bool:
    """Tell whether rates by dimension have any rate, fee or commitment."""
    return bool(
        model.tools
        or model.other_tools is not None
        or model.volume_rates
        or model.tokens
        or model.buckets
        or model.session_fee
        or model.commitment
    )
