"""Outcomes on real events: the line in the composer, and the page behind it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from aforo.lib import clock
from catalog import plans
from catalog.pricing.outcomes import Standing
from metering import pipeline, voiding
from portal.selectors import outcomes
from portal.tests.scene import NOW, PLAN, Scene, sign_in
from tests.factories import add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
MINUTE = dt.timedelta(minutes=1)
REVIEW: dict[str, Any] = {
    "key": "review",
    "name": "Contract reviewed",
    "unit": "contract",
    "price": {
        "model": "compound",
        "outcome": {
            "all": [
                {"event_type": "doc.parsed"},
                {"event_type": "llm.completion", "at_least": 2},
            ],
            "within_seconds": 1800,
        },
        "confirm": {"event_type": "review.confirmed"},
        "reverse": {"event_type": "review.reopened", "within_seconds": 3600},
        "absorbs": ["input_tokens"],
        "price": {"model": "per_unit", "unit_amount": "0.85"},
    },
}


def write_draft(scene: Scene, price: Mapping[str, Any] = REVIEW["price"]) -> None:
    """Let the plan's draft price the outcome."""
    charges = [*PLAN["charges"], {**REVIEW, "price": dict(price)}]
    plans.save_draft(
        plan=scene.version.plan,
        body={"currency": "USD", "charges": charges},
        limits={},
        actor=scene.shop.owner,
    )


def work(scene: Scene, name: str, *kinds: str, ago: dt.timedelta = 60 * MINUTE) -> None:
    """Store the events of a piece of work, a minute apart."""
    for number, kind in enumerate(kinds):
        is_call = kind == "llm.completion"
        scene.store(
            {"input_tokens": 1_000} if is_call else {},
            event_type=kind,
            properties={"model": "gpt-4o"} if is_call else {},
            at=NOW - ago + number * MINUTE,
            correlation_id=name,
        )


REVIEWED = ("doc.parsed", "llm.completion", "llm.completion")


def fill(scene: Scene) -> None:
    """Store work that came to everything that it can come to."""
    work(scene, "c-good", *REVIEWED, "review.confirmed")
    work(scene, "c-half", "doc.parsed", "llm.completion")
    work(scene, "c-silent", *REVIEWED)
    work(scene, "c-back", *REVIEWED, "review.confirmed", "review.reopened")
    work(scene, "c-before", "doc.parsed", ago=25 * 60 * MINUTE)
    work(scene, "c-before", "llm.completion", ago=10 * MINUTE)
    work(scene, "c-old", *REVIEWED, ago=26 * 60 * MINUTE)
    pipeline.rate()


def path(scene: Scene, rest: str = "") -> str:
    """Return the address of the outcomes of the scene's plan."""
    return f"/plans/{scene.version.plan.public_id}/outcomes{rest}"


def text(client: Client, url: str) -> str:
    """Return a page's text without tags."""
    answer = client.get(url)
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_the_last_day_is_counted_by_the_rule_of_rating(scene: Scene) -> None:
    write_draft(scene)
    fill(scene)
    version = plans.newest_version(scene.version.plan)
    assert version is not None
    (charge,) = outcomes.charges(version)
    made = outcomes.last_day(charge, scene.product, "USD")
    found = {g.work.key.name: (g.standing, g.missing) for g in made.groups}
    # The scene's own work is tokens without a document.
    assert found.pop("work-1118")[1] == "no doc.parsed"
    assert found.pop("") == (Standing.INCOMPLETE, "no correlation id")
    assert found == {
        "c-good": (Standing.MATCHED, ""),
        "c-half": (Standing.INCOMPLETE, "1 of 2 llm.completion"),
        "c-silent": (Standing.AWAITING, "no review.confirmed"),
        "c-back": (Standing.REVERSED, "reversed by review.reopened"),
        # Begun before the day: read whole, and so told truly.
        "c-before": (Standing.INCOMPLETE, "1 of 2 llm.completion"),
    }
    (silent,) = made.of(Standing.AWAITING)
    assert silent.work.pieces == "1 doc.parsed, 2 llm.completion"
    assert silent.work.meters == "2,000 tokens"
    # 2,000 × $0.0000011; what a parsed document costs is not known.
    assert f"{silent.work.cost:f}".rstrip("0") == "0.0022"
    assert silent.work.cost_note == "1 event has no known cost"


def test_the_line_says_how_many_and_leads_to_the_page(scene: Scene) -> None:
    write_draft(scene)
    fill(scene)
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    line = text(client, path(scene, "/brief?charge=review"))
    assert (
        "Last 24 h: 1 matched · 4 incomplete · 1 not confirmed · 1 reversed see them"
        in line
    )
    body = client.get(path(scene, "/brief?charge=review")).content.decode()
    assert f"{path(scene)}?version=2&amp;charge=review" in body
    page = text(client, path(scene, "?charge=review"))
    assert "doc.parsed and 2 × llm.completion of one correlation id" in page
    assert "c-half" in page
    assert "1 of 2 llm.completion" in page
    assert "c-good" not in page
    matched = text(client, path(scene, "?show=matched"))
    assert "c-good" in matched
    assert "c-half" not in matched


def test_a_month_lists_what_was_left_over_and_what_it_cost(scene: Scene) -> None:
    write_draft(scene)
    october = NOW - dt.datetime(2026, 10, 31, 23, tzinfo=dt.UTC)
    work(scene, "o-good", *REVIEWED, ago=october)
    # Confirmed in November: the bill of October has it.
    work(scene, "o-good", "review.confirmed", ago=october - 120 * MINUTE)
    work(scene, "o-half", "llm.completion", ago=october)
    pipeline.rate()
    client = sign_in(scene, Role.FINANCE)
    page = text(client, path(scene, "?span=before"))
    assert "o-half" in page
    assert "no doc.parsed, 1 of 2 llm.completion" in page
    assert "o-good" not in page
    assert "Unrecovered cost" in page
    assert "o-good" in text(client, path(scene, "?span=before&show=matched"))


def test_an_event_that_is_void_is_in_no_group(scene: Scene) -> None:
    write_draft(scene)
    work(scene, "c-good", *REVIEWED, "review.confirmed")
    work(scene, "c-alone", "doc.parsed")
    pipeline.rate()
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    before = client.get(path(scene)).context["made"]
    month = client.get(path(scene, "?span=month")).context["made"]
    piece = (
        scene.events()
        .filter(correlation_id="c-good", event_type="llm.completion")
        .order_by("occurred_at")
        .last()
    )
    alone = scene.events().get(correlation_id="c-alone")
    assert piece is not None
    for event in (piece, alone):
        voiding.void(event, reason="sent by a test")
    for span, old in (("day", before), ("month", month)):
        made = client.get(path(scene, f"?span={span}")).context["made"]
        assert old.event_count - made.event_count == 2
        groups = {g.work.key.name: g for g in made.groups}
        assert "c-alone" not in groups
        good = groups["c-good"]
        assert good.missing == "1 of 2 llm.completion"
        assert good.work.pieces == "1 doc.parsed, 1 llm.completion, 1 review.confirmed"
        assert good.work.meters == "1,000 tokens"
        # Each call costs 1,000 × $0.0000011, and one of them is left.
        assert good.work.cost == Decimal("0.0011")
        assert old.unrecovered - made.unrecovered == -good.work.cost
    # What a row leads to is what it counts.
    page = client.get(path(scene)).content.decode()
    address = re.search(r'href="(/events\?q=c-good[^"]*)"', page)
    assert address is not None
    listed = client.get(address[1].replace("&amp;", "&")).context["rows"]
    assert len(listed) == 3


def test_a_correction_takes_the_place_of_an_event_in_its_group(scene: Scene) -> None:
    write_draft(scene)
    work(scene, "c-half", "doc.parsed", "llm.completion")
    work(scene, "c-half", "llm.completion", ago=50 * MINUTE)
    pipeline.rate()
    client = sign_in(scene, Role.VIEWER)
    wrong = scene.events().filter(correlation_id="c-half").first()
    assert wrong is not None
    right = scene.store(
        {"input_tokens": 400},
        properties={"model": "gpt-4o"},
        at=wrong.occurred_at,
        correlation_id="c-half",
    )
    pipeline.rate()
    assert "3 llm.completion" in text(client, path(scene))
    voiding.void(wrong, reason="wrong figure")
    made = client.get(path(scene)).context["made"]
    group = next(g for g in made.groups if g.work.key.name == "c-half")
    assert (group.work.meters, group.missing) == ("1,400 tokens", "no review.confirmed")
    assert group.work.last_id == right.pk


def test_a_single_event_that_never_came_leaves_its_meters_over(scene: Scene) -> None:
    single = {
        "model": "compound",
        "outcome": {"all": [{"event_type": "contract.reviewed"}]},
        "absorbs": ["input_tokens"],
        "price": {"model": "per_unit", "unit_amount": "0.85"},
    }
    write_draft(scene, single)
    work(scene, "done", "llm.completion", "contract.reviewed")
    work(scene, "lost", "llm.completion", "doc.parsed")
    work(scene, "other", "doc.parsed")
    page = text(sign_in(scene, Role.VIEWER), path(scene))
    assert "no contract.reviewed" in page
    assert "lost" in page
    # Nothing of it is the outcome's.
    assert ">other<" not in page
    line = text(sign_in(scene, Role.VIEWER), path(scene, "/brief"))
    assert "1 matched" in line


def test_a_cut_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_draft(scene)
    fill(scene)
    monkeypatch.setattr(outcomes, "RECENT_MAX", 5)
    line = text(sign_in(scene, Role.VIEWER), path(scene, "/brief"))
    assert re.search(r"of the newest \d events", line)


def test_other_sellers_events_are_not_counted_and_plans_not_found(scene: Scene) -> None:
    write_draft(scene)
    other = make_shop(body={"currency": "USD", "charges": [REVIEW]})
    for kind in (*REVIEWED, "review.confirmed"):
        store_event(other, {}, event_type=kind, correlation_id="theirs")
    client = sign_in(scene, Role.VIEWER)
    assert "0 matched" in text(client, path(scene, "/brief"))
    foreign = other.version.plan.public_id
    assert client.get(f"/plans/{foreign}/outcomes").status_code == 404
    assert client.get(path(scene, "?charge=absent")).status_code == 404
    assert client.get(path(scene, "?version=9")).status_code == 404
    assert client.get(path(scene, "?version=1")).status_code == 404
    assert Client().get(path(scene)).status_code == 302


def test_the_plans_page_asks_for_the_line(scene: Scene) -> None:
    write_draft(scene)
    client = sign_in(scene, Role.VIEWER)
    plan = f"/plans/{scene.version.plan.public_id}"
    assert f"{path(scene, '/brief')}?version=2" in (
        client.get(f"{plan}?version=2").content.decode()
    )
    assert "/outcomes" not in client.get(f"{plan}?version=1").content.decode()


def test_an_unfinished_draft_has_no_outcome_yet(scene: Scene) -> None:
    write_draft(scene, {"model": "compound", "outcome": {"all": []}, "price": {}})
    client = sign_in(scene, Role.VIEWER)
    assert "its boxes are not complete" in text(client, path(scene, "/brief"))


def test_a_session_holds_a_group_together(scene: Scene) -> None:
    price = {**REVIEW["price"], "outcome": {**REVIEW["price"]["outcome"]}}
    price["outcome"]["by"] = "session"
    price.pop("confirm")
    write_draft(scene, price)
    add_cost(scene.tenant, model="doc.parsed", unit="event.call", amount="0")
    for kind in REVIEWED:
        store_event(
            scene.shop, {}, event_type=kind, session_key="s-1", at=clock.now() - MINUTE
        )
    pipeline.rate()
    page = text(sign_in(scene, Role.VIEWER), path(scene, "?show=matched"))
    assert "s-1" in page
