"""The page about contracts: its plans are plans, and it names what can be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog.pricing import committed_charges, parse_plan
from catalog.pricing.commitment import MEMBERS, BillingMode
from catalog.pricing.variants import OWN

PAGE = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()


def test_every_plan_on_the_page_is_one():
    blocks = [part.split("```", 1)[0] for part in PAGE.split("```json\n")[1:]]
    in_two, committed = (parse_plan(json.loads(block)) for block in blocks)
    assert in_two.currencies == ("USD", "EUR")
    assert [charge.key for charge in committed_charges(committed)] == ["calls"]


@pytest.mark.parametrize("name", [*OWN, *MEMBERS, *BillingMode, "billing_mode"])
def test_the_page_names_every_member(name):
    assert f"`{name}`" in PAGE
