"""Worked cases of other billing systems on sharing amounts by days."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.models import BillingPeriod
from billing.recurring import share
from catalog import tests as catalog_tests

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case
    for case in json.loads(
        (Path(catalog_tests.__file__).parent / "cases" / "pricing.json").read_text()
    )["cases"]
}
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def shared(amount: str, *, days: int, of: int) -> Decimal:
    """Return the last days' share of an amount for a period, in cents."""
    end = START + dt.timedelta(days=of)
    period = BillingPeriod(start_at=START, end_at=end, timezone="UTC")
    since = end - dt.timedelta(days=days)
    return share(Decimal(amount), period, since, end).quantize(Decimal("0.01"))


@pytest.mark.parametrize("case", [CASES["pc123"]], ids=["pc123"])
def test_a_fee_is_shared_by_the_days_of_the_whole_period(case: dict[str, Any]) -> None:
    params = case["params"]
    found = shared(
        params["price"], days=params["days_used"], of=params["days_in_period"]
    )
    assert found == Decimal(case["expected_amount"])


@pytest.mark.parametrize("case", [CASES["pc125"]], ids=["pc125"])
def test_a_change_gives_back_the_rest_of_the_old_and_takes_that_of_the_new(
    case: dict[str, Any],
) -> None:
    params = case["params"]
    days, of = params["days_left"], params["days_in_period"]
    back = shared(params["old_price"], days=days, of=of)
    taken = shared(params["new_price"], days=days, of=of)
    assert taken - back == Decimal(case["expected_amount"])
