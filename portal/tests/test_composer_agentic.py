"""The composer's forms of dimensions, outcomes and a charge's bounds."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict

from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.posting import from_post
from portal.composer.typed import Typed

DIMENSIONS: dict[str, Any] = {
    "model": "dimensions",
    "tool_invocations": {"transform schema": "0.10", "*": "0.002"},
    "token_multipliers": {"output_tokens": "0.000002"},
    "tool_multipliers": {"transform schema": "2.0"},
    "duration_buckets": {
        "unit": "per_second",
        "buckets": [{"max_seconds": "60", "rate": "0.10"}],
    },
    "error_rate_penalties": {"threshold": "0.05", "multiplier": "1.5"},
    "volume_discounts": [{"min_invocations": 1000, "percent": "10"}],
    "base_session_fee": "5",
    "included_tool_count": 100,
}
COMPOUND: dict[str, Any] = {
    "model": "compound",
    "outcome": {
        "all": [
            {"event_type": "doc.parsed"},
            {
                "event_type": "llm.completion",
                "at_least": 2,
                "where": {"status": ["SUCCESS", "OK then"], "region": "eu"},
            },
        ],
        "by": "session",
        "within_seconds": 1800,
    },
    "price": {"model": "per_unit", "unit_amount": "0.85"},
    "absorbs": ["input_tokens", "vector_lookups"],
}


def body(price: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a plan of one charge."""
    charge = {"key": "work", "name": "Work", "price": price, **more}
    return {"currency": "USD", "charges": [charge]}


def typed(price: dict[str, Any], **more: Any) -> Typed:
    """Return a plan as the form has it."""
    return from_body(body(price, **more), limits={}, prorate=False)


def posted(form: Typed, **changed: str) -> Typed:
    """Return the form as a browser posts it, some boxes changed."""
    (charge,) = form.charges
    uid = charge.uid
    data = QueryDict(mutable=True)
    data.update({"currency": form.currency, "row": uid, f"{uid}-name": charge.name})
    data.update({f"{uid}-model": charge.price.model, f"{uid}-key": charge.key})
    bounds = {f"bound-{name}": text for name, text in charge.bounds.items()}
    for name, text in {**charge.price.values, **bounds, **changed}.items():
        data[f"{uid}-{name}"] = text
    if charge.price.inner is not None:
        data[f"{uid}-price"] = charge.price.inner.model
        for name, text in charge.price.inner.values.items():
            data[f"{uid}-o-{name}"] = text
    return from_post(data, kept_limits={})


@pytest.mark.parametrize("price", [DIMENSIONS, COMPOUND], ids=["dimensions", "outcome"])
def test_the_form_keeps_every_part_of_a_price(price: dict[str, Any]) -> None:
    form = typed(price)
    assert form.charges[0].price.model == price["model"]
    assert to_body(form) == body(price)
    assert to_body(posted(form)) == body(price)
    checked = check(posted(form), {})
    assert checked.problems == {}
    assert checked.plan is not None


def test_columns_of_a_spreadsheet_are_rates() -> None:
    text = "read_cache\t0.001\nwrite_cache\t0.003\n\n*\t0.01\n"
    form = posted(typed(DIMENSIONS), tool_invocations=text)
    (charge,) = to_body(form)["charges"]
    assert charge["price"]["tool_invocations"] == {
        "read_cache": "0.001",
        "write_cache": "0.003",
        "*": "0.01",
    }


@pytest.mark.parametrize(
    ("price", "box", "text", "message"),
    [
        (DIMENSIONS, "tool_invocations", "search free", "not a plain decimal"),
        (DIMENSIONS, "duration_buckets", "60 1\n30 2", "must be above 60"),
        (DIMENSIONS, "volume_discounts", "some 10", "whole number"),
        (DIMENSIONS, "included_tool_count", "many", "whole number"),
        (DIMENSIONS, "base_session_fee", "-1", "below zero"),
        (COMPOUND, "outcome", "", "blank"),
        (COMPOUND, "outcome", "doc.parsed none", "whole number"),
        (COMPOUND, "within_seconds", "soon", "whole number"),
    ],
)
def test_a_wrong_line_is_told_at_its_box(
    price: dict[str, Any], box: str, text: str, message: str
) -> None:
    checked = check(posted(typed(price), **{box: text}), {})
    assert checked.plan is None
    assert message in checked.problems[f"c1-{box}"].lower()


def test_what_no_form_can_show_is_kept_as_json() -> None:
    odd = {"model": "dimensions", "tool_invocations": {}, "moon_phase": {"full": "1"}}
    form = typed(odd)
    assert form.charges[0].price.model == "json"
    assert to_body(form) == body(odd)


def test_bounds_of_a_charge_are_kept_and_judged() -> None:
    bounds = {"discount_percent": "10", "minimum": "5", "maximum": "100"}
    form = typed(DIMENSIONS, **bounds)
    assert to_body(posted(form)) == body(DIMENSIONS, **bounds)
    checked = check(posted(form, **{"bound-maximum": "1"}), {})
    assert checked.problems == {"c1-bound-maximum": "Is below the minimum."}
