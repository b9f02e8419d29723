"""Whose usage is supposed: a sample, a saved scenario, or a customer's month."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billing.models import Customer
from catalog.models import UsageScenario

SAMPLE = "sample"  # The quantities that each charge model starts with.
_BOX = re.compile(r"[qnk]-[0-9a-f]{10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was chosen, and the texts of the simulator's boxes that go with it."""

    chosen: str  # The value of the list: empty, sample, scn_… or cus_….
    customer: Customer | None
    scenario: UsageScenario | None
    typed: dict[str, str]


def profile(
    given: Mapping[str, str],
    customers: Sequence[Customer],
    scenarios: Sequence[UsageScenario],
) -> Profile:
    """Return what was asked; a newly chosen scenario or sample fills the boxes."""
    chosen = given.get("customer", "")
    typed = {name: given.get(name, "") for name in given}
    is_new = chosen != given.get("customer_was", "")
    customer = next((c for c in customers if c.public_id == chosen), None)
    scenario = next((s for s in scenarios if s.public_id == chosen), None)
    if is_new and (scenario is not None or chosen == SAMPLE):
        typed = {name: text for name, text in typed.items() if not _BOX.match(name)}
        if scenario is not None:
            typed |= scenario.quantities
    known = customer is not None or scenario is not None or chosen == SAMPLE
    return Profile(chosen if known else "", customer, scenario, typed)


def quantities(given: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the simulator's boxes."""
    return {name: given.get(name, "") for name in given if _BOX.fullmatch(name)}
