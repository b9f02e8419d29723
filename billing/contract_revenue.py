"""What a period's contract earns as if the period ended now, from its first second on.

The whole period's fixed amounts, minimums, commitments and discounts, and rated usage
beyond them: the exact sum of the lines that the invoice would have. Worked out of
counters alone, so it costs no look at the ledger.
"""

from __future__ import annotations

import functools
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from aforo.lib.money import ZERO
from billing import plan_terms, recurring
from billing.ledger import Entry
from billing.models import BillingPeriod
from billing.recurring import Term
from catalog.plans import PricedPlan
from catalog.pricing import closing, opening, price, state_from_json, true_ups
from catalog.pricing.terms import NOTHING, Parts


@dataclass(frozen=True, slots=True)
class Used:
    """One counter row: what a contract's usage under one snapshot came to."""

    snapshot_id: uuid.UUID
    spend: Decimal  # Rated usage.
    state: Mapping[str, Any] | str  # JSON as it is stored, or its text.

    @property
    def decoded(self) -> Mapping[str, Any]:
        """The state; a text is decoded when somebody asks, which plain plans do not."""
        if isinstance(self.state, str):
            found: Mapping[str, Any] = msgspec.json.decode(self.state)
            return found
        return self.state


@functools.lru_cache(maxsize=4_096)
def is_plain(priced: PricedPlan) -> bool:
    """Tell whether a plan earns what its usage is rated at, and nothing else."""
    plan = priced.plan
    return not (
        plan.has_terms or opening(plan) or closing(plan, {}) or true_ups(plan, {})
    )


def of_period(
    period: BillingPeriod, terms: Sequence[Term], used: Iterable[Used]
) -> dict[uuid.UUID, Decimal]:
    """Return the revenue of each contract that meets a period, by subscription.

    `terms` are all of the customer's, as `recurring.terms` returns them. Usage of the
    period is all that was rated of it, whichever invoice carries it.
    """
    by_snapshot = {row.snapshot_id: row for row in used}
    meeting = [term for term in terms if term.meets(period)]
    found: dict[uuid.UUID, Decimal] = defaultdict(Decimal)
    amounts: dict[uuid.UUID, dict[str, Parts]] = {}
    for term in meeting:
        row = by_snapshot.get(term.snapshot_id)
        found[term.subscription_id] += row.spend if row else ZERO
        if is_plain(term.priced):
            continue
        state = row.decoded if row else {}
        fixed = _fixed(term, period, dict(state))
        found[term.subscription_id] += sum((entry.amount for entry in fixed), ZERO)
        if term.priced.plan.has_terms:
            amounts[term.snapshot_id] = _parts(term, state, fixed)
    for span in plan_terms.spans(meeting, period, {period.pk: amounts}):
        lines = plan_terms.worked_out(span)
        found[span.term.subscription_id] += sum((o.line.amount for o in lines), ZERO)
    return dict(found)


def _fixed(term: Term, period: BillingPeriod, state: dict[str, Any]) -> list[Entry]:
    """Return what a term posts for a period that no usage caused."""
    return [
        *recurring.opening_entries(term, period),
        *recurring.credit_entries(term, period),
        *recurring.closing_entries(term, period, state),
    ]


def _parts(
    term: Term, state: Mapping[str, Any], fixed: Iterable[Entry]
) -> dict[str, Parts]:
    """Return what each charge comes to, fixed and by usage apart."""
    plan, found = term.priced.plan, defaultdict[str, Parts](lambda: NOTHING)
    # What opens a period is in the price of its usage.
    for sign, lines in (
        (1, price(plan, state_from_json(dict(state)))),
        (-1, opening(plan)),
    ):
        for line in lines:
            known = found[line.charge_key]
            found[line.charge_key] = Parts(
                known.fixed, known.usage + sign * line.amount
            )
    for entry in fixed:
        for key, amount in zip(entry.charge_keys, entry.amounts, strict=True):
            known = found[key]
            found[key] = Parts(known.fixed + amount, known.usage)
    return dict(found)
