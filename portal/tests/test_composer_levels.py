"""Spend levels on the pages: typed, chosen in conditions, shown with prices."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from billing import subscriptions
from catalog import plans
from catalog.models import Plan
from catalog.products import show_prices
from catalog.tests.api_kit import make_caller
from metering import pipeline
from portal.composer.bodies import to_body
from portal.selectors import month_usage
from portal.tests.composer_kit import (
    CALLS,
    boxes,
    draft,
    figure,
    make_plan,
    opened,
    path,
    posted,
    read,
)
from portal.tests.scene import NOW, Scene, event_path, sign_in

pytestmark = pytest.mark.django_db

LEVELS = [
    {"key": "free", "name": "Free"},
    {"key": "build", "name": "Build", "credits_from": "5"},
    {"key": "scale", "name": "Scale", "spend_from": "50"},
    {"key": "enterprise", "name": "Enterprise"},
]
CHEAP = {
    **CALLS,
    "key": "cheap",
    "name": "Cheaper calls",
    "filter": {"spend_level": ["scale", "enterprise"]},
    "price": {"model": "per_unit", "unit_amount": "0.001"},
}
BODY: dict[str, Any] = {
    "currency": "USD",
    "charges": [CALLS, CHEAP],
    "levels": LEVELS,
}


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan whose draft has levels."""
    made = make_plan(scene)
    plans.save_draft(plan=made, body=BODY, limits={}, actor=None)
    return made


def act(client: Client, plan: Plan, given: dict[str, Any], deed: str) -> str:
    """Press a button of the form; return the page."""
    answer = client.post(path(plan), {**given, "do": deed})
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_form_says_what_the_json_says_and_back() -> None:
    assert to_body(read(BODY)) == BODY
    assert to_body(posted(read(BODY))) == BODY
    without = {"currency": "USD", "charges": [CALLS]}
    assert "levels" not in to_body(posted(read(without)))


def test_levels_are_added_moved_and_removed_and_saved(ana: Client, plan: Plan) -> None:
    plans.save_draft(
        plan=plan,
        body={**BODY, "charges": [CALLS], "levels": []},
        limits={},
        actor=None,
    )
    page = act(ana, plan, opened(ana, plan), "level.add")
    assert "everybody begins here" in page
    given = boxes(page)
    assert given["level_name"] == ["Free", ""]
    given |= {"level_name": ["Free", "Scale"], "level_amount": ["", "$50"]}
    given = boxes(act(ana, plan, given, "level.add"))
    given |= {
        "level_name": ["Free", "Scale", "Top"],
        "level_trigger": ["", "spend_from", ""],
        "level_amount": ["", "$50", ""],
    }
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 302, re.findall("data-problem=.*?>", answer.text)
    saved = draft(plan).body["levels"]
    assert saved == [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "50"},
        {"key": "top", "name": "Top"},
    ]
    moved = boxes(act(ana, plan, opened(ana, plan), "level.2.up"))
    assert moved["level_name"] == ["Free", "Top", "Scale"]
    assert moved["level_amount"] == ["", "", "50"]
    left = boxes(act(ana, plan, moved, "level.0.remove"))
    assert left["level_name"] == ["Top", "Scale"]


def test_a_condition_chooses_among_the_levels(ana: Client, plan: Plan) -> None:
    page = ana.get(path(plan)).content.decode()
    assert '<option value="scale, enterprise" selected>Scale and above</option>' in page
    assert '<option value="build">Build</option>' in page
    given = boxes(act(ana, plan, opened(ana, plan), "c1.level"))
    assert given["c1-filter_property"] == ["spend_level"]
    again = boxes(act(ana, plan, given, "c1.level"))
    assert again["c1-filter_property"] == ["spend_level"]
    given["c1-filter_values"] = ["free, build"]
    assert ana.post(path(plan), {**given, "do": "save"}).status_code == 302
    (first, _) = draft(plan).body["charges"]
    assert first["filter"] == {"spend_level": ["free", "build"]}


@pytest.mark.parametrize(
    ("changes", "box", "words"),
    [
        ({"level_name": ["Free", "", "Scale", "E"]}, "level-1-name", "Name is blank"),
        ({"level_amount": ["", "5", "x", ""]}, "level-2-amount", "“x” is no number"),
        ({"level_amount": ["", "5", "0", ""]}, "level-2-amount", "above zero"),
        (
            {
                "level_trigger": ["", "spend_from", "spend_from", ""],
                "level_amount": ["", "50", "50", ""],
            },
            "level-2-amount",
            "Must be above 50, where Build begins.",
        ),
        ({"c2-filter_values": "gold"}, "c2-filter-0-values", "Gold is none of free"),
        (
            {"level_key": ["free", "free", "scale", "enterprise"]},
            "level-1-key",
            "Another level already has the key free.",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_box_and_kept(
    ana: Client, plan: Plan, changes: dict[str, Any], box: str, words: str
) -> None:
    given = {**opened(ana, plan), **changes}
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'href="#{box}"' in page
    assert words in page
    shown = boxes(page)
    for name, value in changes.items():
        assert shown[name] == ([value] if isinstance(value, str) else value)


def test_each_level_has_a_quantity_of_its_own_in_the_simulator(
    ana: Client, plan: Plan
) -> None:
    given = opened(ana, plan)
    first, second = [name for name in given if name.startswith("q-")]
    answer = ana.post(
        path(plan, "simulate"), {**given, first: "1,000", second: "5,000"}
    ).content.decode()
    assert figure(answer, "Customer pays") == Decimal("15")


def test_a_customers_month_climbs_by_the_time_of_its_events(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    each = {"model": "per_unit", "unit_amount": "1"}
    levels = [LEVELS[0], {"key": "scale", "name": "Scale", "spend_from": "2"}]
    cheap = {**CHEAP, "filter": {"spend_level": "scale"}}
    body = {**BODY, "charges": [{**CALLS, "price": each}, cheap], "levels": levels}
    plans.save_draft(plan=plan, body=body, limits={}, actor=None)
    start, end = month_usage.last_month(NOW)
    expected, calls = Decimal(0), 0
    rated = scene.ledger().filter(occurred_at__gte=start, occurred_at__lt=end)
    ids = rated.filter(event_id__isnull=False).values("event_id")
    for event in scene.events().filter(pk__in=ids).order_by("occurred_at", "event_id"):
        used = Decimal(event.body["measurements"].get("tool_calls", "0"))
        calls += bool(used)
        expected += used * (Decimal("0.001") if expected >= 2 else 1)
    assert calls > 2, "some at either level"
    given = {**opened(ana, plan), "customer": scene.customer.public_id}
    page = ana.post(path(plan, "simulate"), given).content.decode()
    assert figure(page, "Customer pays") == expected
    assert expected % 1 != 0


def test_two_writers_of_levels_are_told(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    others = {**BODY, "levels": [*LEVELS[:3], {**LEVELS[3], "name": "Other"}]}
    plans.save_draft(plan=plan, body=others, limits={}, actor=None)
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 409
    assert "Also different: spend levels" in answer.content.decode()


def test_levels_stand_on_the_plan_page_price_list_and_difference(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    plans.publish(version=draft(plan), actor=None)
    page = ana.get(f"/plans/{plan.public_id}").content.decode()
    for words in (
        "Spend levels",
        "from $50.00 spent in a period",
        "from $5.00 of credits bought",
        "by agreement",
        "Only when spend level is Scale or Enterprise.",
    ):
        assert words in page, words
    show_prices(product=scene.product, public=True, actor=None)
    address = f"/prices/{scene.tenant.public_id}/{scene.product.code}"
    assert "from $50.00 spent in a period" in Client().get(address).content.decode()
    offers = {p["code"]: p for p in Client().get(f"{address}.json").json()["plans"]}
    assert offers["growth"]["levels"] == LEVELS
    dearer = [*LEVELS[:2], {**LEVELS[2], "spend_from": "100"}, LEVELS[3]]
    plans.save_draft(plan=plan, body={**BODY, "levels": dearer}, limits={}, actor=None)
    page = ana.get(f"/plans/{plan.public_id}").content.decode()
    assert "Spend level Scale" in page
    assert "from $100.00 spent in a period" in page


def test_an_event_says_at_which_level_it_was_priced(scene: Scene) -> None:
    saved = plans.save_draft(plan=make_plan(scene), body=BODY, limits={}, actor=None)
    subscriptions.change_plan(
        subscription=scene.subscription,
        plan_version=plans.publish(version=saved, actor=None),
        at=NOW,
        actor=None,
        overrides={"level": "scale"},
    )
    event = scene.store({"tool_calls": 10}, at=NOW)
    pipeline.rate()
    page = sign_in(scene, Role.VIEWER).get(event_path(event)).content.decode()
    assert "<dt>Spend level</dt><dd>Scale, reached before this event</dd>" in page
    assert "Cheaper calls" in page
    older = scene.events().exclude(pk=event.pk).first()
    assert older is not None
    page = sign_in(scene, Role.VIEWER).get(event_path(older)).content.decode()
    assert "<dt>Spend level</dt>" not in page


def test_the_api_takes_levels_and_refuses_them_in_the_same_words(scene: Scene) -> None:
    caller = make_caller(scene.shop, "catalog:read", "catalog:write")
    made = make_plan(scene)
    saved = caller.ask("PUT", f"plans/{made.code}/draft", BODY)
    assert (saved.status, saved.json["levels"]) == (200, LEVELS)
    wrong = {**BODY, "levels": LEVELS[1:]}
    caller.ask("PUT", f"plans/{made.code}/draft", wrong)
    refused = caller.ask("POST", f"plans/{made.code}/versions/1/publish")
    assert refused.refusal == (422, "unsupported", "levels[0].credits_from")
    caller.ask("PUT", f"plans/{made.code}/draft", BODY)
    published = caller.ask("POST", f"plans/{made.code}/versions/1/publish")
    assert published.json["levels"] == LEVELS
    assert "Spend levels: Free" in published.json["summary"]
