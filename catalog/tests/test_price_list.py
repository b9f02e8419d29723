"""Price lists: tiers as tables, and what is public never tells how we count."""

from __future__ import annotations

from catalog.price_list import prices, public_json, with_units
from catalog.pricing import parse_plan

METRIC = {"key": "calls", "aggregation": "count", "event_types": ["b", "a"]}
TIERS = [
    {"up_to": "1000", "unit_amount": "0.01", "flat_amount": "5"},
    {"up_to": None, "unit_amount": "0.005"},
]
GRADUATED = {"model": "graduated", "tiers": TIERS}
FLAT = {"model": "flat", "amount": "1", "due": "arrears"}


def listed(price, **more):
    """Return the one price of a plan, and its public JSON."""
    metric = {} if price["model"] == "flat" else {"metric": METRIC, "unit": "call"}
    charge = {"key": "secret", "name": "Calls", "price": price, **metric, **more}
    plan = parse_plan({"currency": "USD", "charges": [charge]})
    (found,) = prices(plan)
    return found, public_json(plan)


def rows(price):
    """Return the tiers of a price as a table."""
    return [(t.units, t.price, t.flat) for t in listed(price)[0].tiers]


def test_tiers_say_where_they_begin_and_end():
    assert rows(GRADUATED) == [
        ("up to 1,000 calls", "$0.01 per call", "$5.00"),
        ("above 1,000 calls", "$0.005 per call", "$0.00"),
    ]


def test_one_tier_prices_any_quantity():
    only = [{"up_to": None, "unit_amount": "1"}]
    assert rows({"model": "volume", "tiers": only}) == [
        ("any quantity", "$1.00 per call", "")
    ]


def test_tiers_inside_other_models_are_found():
    included = {"model": "included", "units": "10", "overage": GRADUATED}
    found, _ = listed(included)
    assert len(found.tiers) == 2
    assert "Included units come first" in found.tier_note
    assert found.words.startswith("10 calls included, then")
    packages = {"model": "package", "size": "100", "price": GRADUATED}
    assert rows(packages)[0] == ("up to 1,000 packages", "$0.01 per package", "$5.00")


def test_a_volume_says_that_all_units_have_the_price():
    found, _ = listed({"model": "volume", "tiers": TIERS})
    assert "prices all of it" in found.tier_note


def test_staff_see_what_is_counted_and_the_public_does_not():
    found, public = listed(
        {"model": "per_unit", "unit_amount": "1"}, filter={"region": ["eu", "us"]}
    )
    assert found.counts == "number of events in a and b"
    assert found.only_when == "region is eu or us"
    assert public == {
        "currency": "USD",
        "charges": [
            {
                "name": "Calls",
                "unit": "call",
                "filter": {"region": ["eu", "us"]},
                "price": {"model": "per_unit", "unit_amount": "1"},
                "text": "$1.00 per call",
            }
        ],
    }


def test_a_flat_amount_counts_nothing():
    found, _ = listed({"model": "flat", "amount": "9", "due": "arrears"})
    assert (found.counts, found.tiers) == ("", ())


def test_a_table_of_tiers_says_discount_minimum_and_maximum_too():
    more = {"discount_percent": "10", "minimum": "5", "maximum": "900"}
    found, _ = listed(GRADUATED, **more)
    words = "10 % off, at least $5.00 a month, at most $900.00 a month."
    assert found.tier_note.endswith(f"fall into it. {words}")
    flat = {"model": "included", "units": "500", "overage": GRADUATED}
    assert "% off" not in listed(flat, **more)[0].tier_note, "its words say it"


def test_an_outcome_says_what_it_is_made_of():
    outcome = {
        "all": [
            {"event_type": "doc.parsed"},
            {"event_type": "tool.call", "at_least": 2, "where": {"tool": "search"}},
        ],
        "within_seconds": 1800,
    }
    inner = {"model": "per_unit", "unit_amount": "0.85"}
    price = {"model": "compound", "outcome": outcome, "price": inner}
    charge = {"key": "done", "name": "Review", "price": price}
    plan = parse_plan({"currency": "USD", "charges": [charge]})
    words = (
        "doc parsed and 2 × tool call when tool is search in one piece of work,"
        " within 30 minutes"
    )
    assert prices(plan)[0].made_of == words
    (public,) = public_json(plan)["charges"]
    assert (public["made_of"], public["price"]) == (words, inner)


def test_a_charge_without_a_unit_has_that_of_its_metric():
    def priced(**more):
        price = {"model": "per_unit", "unit_amount": "1"}
        charge = {"key": "c", "name": "C", "metric": METRIC, "price": price, **more}
        plan = parse_plan({"currency": "USD", "charges": [charge]})
        return with_units(plan, {"calls": "call", "other": "page"})

    assert prices(priced())[0].words == "$1.00 per call"
    assert public_json(priced())["charges"][0]["unit"] == "call"
    assert prices(priced(unit="request"))[0].words == "$1.00 per request"
    other = priced(metric=METRIC | {"key": "gone"})
    assert prices(other)[0].words == "$1.00 per unit"
    fee = {"key": "f", "name": "F", "price": FLAT}
    flat = parse_plan({"currency": "USD", "charges": [fee]})
    assert with_units(flat, {"f": "page"}) == flat
