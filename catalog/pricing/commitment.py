"""Commitments: calls that are paid when a period opens, and what goes beyond them.

The first `committed_amount` calls of a period are covered. All of them cost the same
(only `*` has a rate), so it never matters which calls came first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from aforo.lib.money import plain
from catalog.pricing.agentic import Commitment, Dimensions
from catalog.pricing.exact import PRICE_LIMIT, ZERO
from catalog.pricing.lines import Step
from catalog.pricing.reading import PlanError, decimal, number, number_text, text

COMMITTED_MAX = 10**12
MEMBERS = ("committed_amount", "committed_price")


class BillingMode(StrEnum):
    """Whether calls are paid as they come, or so many of them in advance."""

    PAY_AS_YOU_GO = "PAY_AS_YOU_GO"
    COMMITTED = "COMMITTED"


def parse_commitment(
    row: Mapping[str, Any], path: str, model: Dimensions
) -> Dimensions:
    """Return the model with the commitment that its JSON names, if any.

    Raises PlanError, also for rates that would make the order of calls matter.
    """
    where = f"{path}.billing_mode"
    mode = text(row.get("billing_mode", "PAY_AS_YOU_GO"), where, longest=40)
    if mode not in set(BillingMode):
        message = f"{mode} is none of {', '.join(BillingMode)}"
        raise PlanError("unknown_choice", where, message)
    if mode == BillingMode.PAY_AS_YOU_GO:
        for name in MEMBERS:
            if name in row:
                message = "goes with billing_mode COMMITTED only: leave this out"
                raise PlanError("unsupported", f"{path}.{name}", message)
        return model
    for name in MEMBERS:
        if name not in row:
            message = f"{name} is missing: COMMITTED needs it"
            raise PlanError("missing_key", f"{path}.{name}", message)
    _refuse_others(path, model)
    price = number_text(row["committed_price"], f"{path}.committed_price")
    return replace(
        model,
        commitment=Commitment(
            number(
                _whole(row["committed_amount"]),
                f"{path}.committed_amount",
                smallest=1,
                largest=COMMITTED_MAX,
            ),
            decimal(price, f"{path}.committed_price", below=PRICE_LIMIT),
        ),
    )


def _whole(value: Any) -> Any:
    """Return a whole number written as a text as one; anything else as it is."""
    short = isinstance(value, str) and value.isascii() and value.isdecimal()
    return int(value) if short and len(value) <= 15 else value


def _refuse_others(path: str, model: Dimensions) -> None:
    """Refuse what a commitment cannot stand beside."""
    if model.other_tools is None or model.tools:
        names = ", ".join(sorted(model.tools)) or "none"
        message = (
            "a commitment covers calls of every tool alike, so that it never matters "
            f'which came first: name "*" alone, not {names}'
            if model.tools
            else 'a commitment needs the rate of calls beyond it: name "*"'
        )
        raise PlanError("unsupported", f"{path}.tool_invocations", message)
    for name, is_there, why in (
        ("volume_tiers", model.volume_rates, "change the rate of calls by volume"),
        ("error_rate_penalties", model.penalty, "price calls by how they ended"),
        ("included_tool_count", model.included_tools, "cover calls by session"),
    ):
        if is_there:
            message = (
                f"these {why}, and which calls the commitment covers would depend on "
                "their order: leave this out"
            )
            raise PlanError("unsupported", f"{path}.{name}", message)


def commitment_to_json(commitment: Commitment | None) -> dict[str, Any]:
    """Return what `parse_commitment` reads back as the same."""
    if commitment is None:
        return {}
    return {
        "billing_mode": str(BillingMode.COMMITTED),
        "committed_amount": commitment.amount,
        "committed_price": plain(commitment.price),
    }


def overage_of(commitment: Commitment, calls: Decimal) -> Decimal:
    """Return how many of a period's calls go beyond the commitment."""
    return max(ZERO, calls - commitment.amount)


def commitment_steps(commitment: Commitment, calls: Decimal) -> Iterator[Step]:
    """Yield what is due when the period opens, and how much of it is used."""
    amount, price = Decimal(commitment.amount), commitment.price
    yield Step("commitment", amount, price, price)
    if calls:
        yield Step("drawdown", calls, ZERO, ZERO, up_to=amount)
