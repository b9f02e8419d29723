"""Voiding on the page of an event, and the intervals of a product's sessions."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest
from django.test import Client

from aforo.core.models import Role
from aforo.lib import ids
from aforo.lib.money import plain
from metering import voiding
from metering.models import EventVoid, Session, UsageEvent
from portal.selectors import sessions
from portal.selectors.waterfall import waterfall
from portal.tests.scene import Scene, event_path, sign_in

pytestmark = pytest.mark.django_db


def _csv(client: Client, **query: str) -> list[dict[str, str]]:
    """Return the CSV of events by a filter."""
    text = client.get("/events.csv", query).content.decode()
    return list(csv.DictReader(io.StringIO(text)))


def rated(scene: Scene) -> UsageEvent:
    """Return a tool call of this month's session."""
    found = UsageEvent.objects.filter(session_key="run-1118", tool_name="search")
    event = found.order_by("id").last()
    assert event is not None
    return event


def test_the_page_shows_the_effect_first_and_voids_when_confirmed(
    scene: Scene,
) -> None:
    event = rated(scene)
    path = event_path(event)
    client = sign_in(scene, Role.OPERATIONS)
    assert f"{path}/void" in client.get(path).content.decode()
    asked = client.get(f"{path}/void")
    text = asked.content.decode()
    assert asked.status_code == 200
    assert "$0.01 less" in text
    assert "go back to the wallet" in text
    assert not EventVoid.objects.exists()
    assert client.post(f"{path}/void", {"reason": ""}).status_code == 422
    assert not EventVoid.objects.exists()
    assert client.post(f"{path}/void", {"reason": "twice"}).status_code == 302
    void = EventVoid.objects.get()
    assert (void.event_id, void.reason) == (event.pk, "twice")
    page = client.get(path)
    assert "This event is void" in page.content.decode()
    assert len(page.context["told"].posted) == 2
    assert page.context["price"] == 0
    listed = client.get("/events", {"status": "void"})
    assert [row.event.pk for row in listed.context["rows"]] == [event.pk]
    (row,) = _csv(client, status="void")
    assert (row["void"], row["state"]) == ("twice", "Void")
    assert row["id"] == ids.public("evt", event.pk)
    # Figures do not count it, and what they lead to does not list it.
    whole, counted = _csv(client), _csv(client, void="no")
    assert {r["state"] for r in whole} == {"Rated", "Void"}
    assert [r for r in whole if r["state"] != "Void"] == counted
    assert len(whole) == len(counted) + 1
    assert client.get("/events", {"void": "maybe"}).context["rows"] == []
    usage = client.get("/analytics/usage", {"by": "model"})
    for entry in usage.context["listed"]:
        listed = client.get(entry["at"]["events"].replace("/events", "/events.csv"))
        rows = list(csv.DictReader(io.StringIO(listed.content.decode())))
        assert len(rows) == entry["row"].now.events
    trace = sessions.trace(Session.objects.get(key="run-1118"))
    assert trace.agrees
    # A second look leads back: there is nothing to confirm.
    assert client.get(f"{path}/void").status_code == 302


def test_lists_show_what_is_left_of_the_price_of_a_void_event(scene: Scene) -> None:
    """Graduated tokens: without one call the later ones are on a dearer tier."""
    client = sign_in(scene, Role.OPERATIONS)
    work = UsageEvent.objects.filter(session_key="run-1118")
    first = work.filter(tool_name="").order_by("occurred_at")[0]
    tool = rated(scene)
    for event in (first, tool):
        voiding.void(event, reason="sent by a test")
    rows = {row.event.pk: row.event for row in client.get("/events").context["rows"]}
    assert (rows[tool.pk].net, rows[tool.pk].amount) == (0, Decimal("0.01"))
    assert rows[first.pk].net > 0
    page = re.sub(r"\s+", " ", client.get("/events").content.decode())
    struck = re.findall(r"<del>.*?</del>( others repriced)?</span>", page)
    assert sorted(struck) == ["", " others repriced"]
    # What the rows show is what the books have, on the page and in the CSV.
    booked = sum(entry.amount for entry in scene.ledger().exclude(event_id=None))
    shown = _csv(client)
    assert sum(Decimal(row["amount"] or 0) for row in shown) == booked
    taken = {row["id"]: row["taken_back"] for row in shown if row["taken_back"]}
    assert taken == {
        ids.public("evt", pk): plain(rows[pk].amount) for pk in (first.pk, tool.pk)
    }
    # A session's rows sum to the session's price, and siblings say what is void.
    session = Session.objects.get(key="run-1118")
    bars = waterfall(session).bars
    assert sum(bar.event.net or 0 for bar in bars) == session.price
    page = client.get(f"/sessions/{session.public_id}").content.decode()
    assert page.count("<del>") == 2
    page = client.get(event_path(work.exclude(pk=first.pk)[0])).content.decode()
    assert page.count("<del>") == 2


def test_a_void_event_that_had_no_price_shows_none(scene: Scene) -> None:
    event = scene.store({"input_tokens": 10})
    voiding.void(event, reason="sent by a test")
    page = sign_in(scene, Role.VIEWER).get("/events", {"status": "void"})
    assert "voided before it had a price" in page.content.decode()
    assert "<del>" not in page.content.decode()


def test_viewers_do_not_void(scene: Scene) -> None:
    path = event_path(rated(scene))
    client = sign_in(scene, Role.VIEWER)
    assert f"{path}/void" not in client.get(path).content.decode()
    assert client.post(f"{path}/void", {"reason": "x"}).status_code == 403
    assert not EventVoid.objects.exists()


def test_intervals_of_sessions_are_changed_on_the_product(scene: Scene) -> None:
    product = scene.shop.product
    path = f"/products/{product.public_id}/sessions"
    client = sign_in(scene, Role.OWNER)
    assert client.get(path).status_code == 200
    wrong = client.post(path, {"session_idle_s": 600, "session_expire_s": 60})
    assert wrong.status_code == 422
    given = {"session_idle_s": 120, "session_expire_s": 900}
    assert client.post(path, given).status_code == 302
    product.refresh_from_db()
    assert (product.session_idle_s, product.session_expire_s) == (120, 900)
    assert not product.implicit_sessions
    assert client.post(path, given | {"implicit_sessions": "on"}).status_code == 302
    product.refresh_from_db()
    assert product.implicit_sessions


def test_a_reason_says_what_to_do(scene: Scene) -> None:
    page = sign_in(scene, Role.OPERATIONS).get(
        "/events", {"status": "unrateable", "reason": "unknown_metric"}
    )
    assert "What to do" in page.content.decode()
