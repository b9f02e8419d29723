"""What a contract may say otherwise than its plan, checked before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aforo.lib.errors import AforoError
from billing import contracts
from billing.models import Customer, SubscriptionSnapshot
from catalog import effective
from catalog.limits import check_limits
from catalog.models import PlanVersion
from catalog.plans import PricedPlan, load_plans
from catalog.pricing import PlanError

# "limits" are the guard's, the others decide the price: "level" is the spend level
# that somebody gave by hand.
MEMBERS = ("limits", "level", *effective.PRICED)


class Agreed(NamedTuple):
    """The terms of a snapshot as they are stored."""

    overrides: dict[str, Any]
    commitment: dict[str, Any]

    @property
    def said(self) -> dict[str, list[Any]]:
        """What the audit keeps of terms that are not the plan's."""
        terms = {**self.overrides, "commitment": self.commitment}
        return {name: [None, value] for name, value in terms.items() if value}


def agree(
    *,
    customer: Customer,
    version: PlanVersion,
    before: SubscriptionSnapshot | None,
    overrides: Mapping[str, Any] | None,
    commitment: Mapping[str, Any] | None,
    currency: str | None = None,
) -> Agreed:
    """Return the terms of a contract for a plan version.

    Without a currency the contract goes on in the one before, else in the customer's,
    where the plan is sold in it, else in the plan's own. Own prices and commitments
    keep their currency beside them. Raises AforoError 422 `currency_not_offered`,
    `own_prices_in_currency`, `unknown_level`, or a code of plan JSON, with the path
    as its field.
    """
    (priced,) = load_plans({version.pk}).values()
    said, own = dict(overrides or {}), dict(commitment or {})
    for name in said:
        if name not in MEMBERS:
            detail = f"{name[:40]} is not known here; {', '.join(MEMBERS)} are."
            raise AforoError("unknown_key", 422, detail, field=f"overrides.{name[:40]}")
    _check_level(said, priced)
    _check_margin(said)
    was = said.pop("currency", None)
    if currency and was and currency != was and (said.get("charges") or own):
        raise AforoError(
            "own_prices_in_currency",
            422,
            f"The own prices are in {was}: give those in {currency}, or clear them.",
            field="currency",
        )
    chosen = _currency(currency or was, customer, priced, before)
    if not said.get("charges"):
        said.pop("charges", None)
    if chosen != priced.currency or "charges" in said or own:
        said["currency"] = chosen
    try:
        effective.of_contract(priced, said, own)
    except PlanError as error:
        detail = f"{version}: {error.message}."
        raise AforoError(error.code, 422, detail, field=error.path) from error
    return Agreed(said, own)


def _check_level(said: Mapping[str, Any], priced: PricedPlan) -> None:
    """Refuse a spend level that the plan does not have; without levels it waits."""
    known = [level.key for level in priced.plan.levels]
    if "level" in said and known and said["level"] not in known:
        detail = (
            f"{priced.name} v{priced.number} has no spend level"
            f" {str(said['level'])[:40]}; it has {', '.join(known)}."
        )
        raise AforoError("unknown_level", 422, detail, field="overrides.level")


def _check_margin(said: Mapping[str, Any]) -> None:
    """Refuse lines of margins, or a cheaper model, that the guard could not keep."""
    limits = said.get("limits")
    if isinstance(limits, Mapping):
        known = {k: limits[k] for k in ("margin", "throttle_model") if k in limits}
        check_limits(known, metrics=frozenset())


def _currency(
    wanted: str | None,
    customer: Customer,
    priced: PricedPlan,
    before: SubscriptionSnapshot | None,
) -> str:
    """Return the currency of a contract; one that was chosen must be offered."""
    offered = priced.plan.currencies
    if wanted is None:
        kept = customer.currency
        if before is not None and before.plan_version_id is not None:
            kept = contracts.plans_of([before])[before.pk].currency
        return kept if kept in offered else priced.currency
    if wanted not in offered:
        raise AforoError(
            "currency_not_offered",
            422,
            f"{priced.name} v{priced.number} is not sold in {wanted[:20]};"
            f" it is sold in {', '.join(offered)}.",
            field="currency",
        )
    return wanted
