"""One run taken apart: nested calls, the guard's decisions, what it may come to."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from aforo.lib import ids
from guard.models import Decision
from metering import pipeline
from metering.models import Session, UsageEvent
from portal.selectors import session_estimate
from portal.selectors.waterfall import Asked, Waterfall, waterfall
from portal.tests.scene import NOW, Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db

SECOND = dt.timedelta(seconds=1)


def call(scene: Scene, tool: str, second: int = 0, *, parent: str = "", **more: Any):
    """Store a tool call of the session `run`, so many seconds after its beginning."""
    start = NOW - dt.timedelta(hours=1)
    return scene.store(
        {"tool_calls": 1, "tool_duration_ms": 200},
        at=start + second * SECOND,
        event_type="mcp.tool_invoked",
        tool_name=tool,
        body={"parent_id": parent} if parent else {},
        **({"event_id": f"{scene.tenant.pk}-{tool}", "session_key": "run"} | more),
    )


def told(key: str = "run") -> Waterfall:
    """Rate what waits and return the session's waterfall."""
    pipeline.rate()
    return waterfall(Session.objects.get(key=key))


def shape(fall: Waterfall) -> list[tuple[str, int]]:
    """Return the names of the rows with their depths, from top to bottom."""
    return [
        (f"? {row.about}" if isinstance(row, Asked) else row.name, row.depth)
        for row in fall.rows
    ]


def decide(scene: Scene, outcome: str = "deny", second: int = 0, **more: Any):
    """Store a decision on the customer, so many seconds after the session began."""
    at = NOW - dt.timedelta(hours=1) + second * SECOND
    key = ids.oldest_since(at).int + Decision.objects.count() + 1
    return Decision.objects.create(
        pk=uuid.UUID(int=key),
        tenant=scene.tenant,
        customer_id=scene.customer.pk,
        agent_id=more.pop("agent_id", scene.shop.agent.pk),
        decision=outcome,
        reason_code=more.pop("reason_code", "quota.customer.period"),
        decided_at=at,
        **more,
    )


def test_calls_stand_below_the_call_that_made_them(scene: Scene) -> None:
    plan = call(scene, "plan", 10)
    call(scene, "search", 2, parent=plan.event_id)
    fetch = call(scene, "fetch", 4, parent=plan.event_id)
    call(scene, "parse", 3, parent=ids.public("evt", fetch.pk))
    call(scene, "report", 20)
    fall = told()
    assert shape(fall) == [
        ("plan", 0),
        ("search", 1),
        ("fetch", 1),
        ("parse", 2),
        ("report", 0),
    ]
    parse = fall.bars[3]
    assert (parse.parent, parse.css, parse.orphan_of) == ("fetch", "deep-2", "")


def test_a_call_whose_parent_is_not_here_says_which_it_names(scene: Scene) -> None:
    call(scene, "lost", 1, parent="elsewhere")
    call(scene, "below", 2, parent=f"{scene.tenant.pk}-lost")
    fall = told()
    assert shape(fall) == [("lost", 0), ("below", 1)]
    assert fall.bars[0].orphan_of == "elsewhere"
    path = f"/sessions/{Session.objects.get(key='run').public_id}"
    text = sign_in(scene, Role.VIEWER).get(path).content.decode()
    assert "Called by elsewhere, which is not in this session" in text
    assert ", inside of lost" in text


def test_calls_that_name_each_other_or_themselves_are_shown_once(scene: Scene) -> None:
    call(scene, "a", 1, parent=f"{scene.tenant.pk}-b")
    call(scene, "b", 2, parent=f"{scene.tenant.pk}-a")
    call(scene, "self", 3, parent=f"{scene.tenant.pk}-self")
    fall = told()
    assert sorted(name for name, _ in shape(fall)) == ["a", "b", "self"]
    assert [bar.name for bar in fall.bars if not bar.depth and bar.circle_of] == [
        "b",
        "self",
    ]


def test_deep_calls_stop_moving_in(scene: Scene) -> None:
    parent = ""
    for level in range(7):
        parent = call(scene, f"t{level}", level, parent=parent).event_id
    assert [bar.css for bar in told().bars] == [
        "",
        "deep-1",
        "deep-2",
        "deep-3",
        "deep-4",
        "deep-4",
        "deep-4",
    ]


def test_decisions_of_the_session_its_requests_and_its_work_are_shown(
    scene: Scene,
) -> None:
    plan = call(scene, "plan", 10, request_id="r-1", correlation_id="w-1")
    call(scene, "search", 12, parent=plan.event_id, request_id="r-2")
    decide(scene, "throttle", 11, request_id="r-2")
    decide(scene, second=20, inputs={"session_id": "run", "tool_name": "buy"})
    decide(scene, second=30, inputs={"correlation_id": "w-1", "model": "m"})
    decide(scene, second=31, inputs={"session_id": "other", "correlation_id": "w-1"})
    decide(scene, second=32, inputs={"session_id": "run"}, agent_id=ids.new_id())
    fall = told()
    assert shape(fall) == [
        ("plan", 0),
        ("? search", 1),
        ("search", 1),
        ("? buy", 0),
        ("? m", 0),
    ]
    assert (fall.decision_count, fall.decisions_cut) == (3, False)


def test_the_page_shows_decisions_with_reason_estimate_and_link(scene: Scene) -> None:
    call(scene, "plan", 10)
    denied = decide(
        scene, second=20, inputs={"session_id": "run", "estimate_micros": 42_000}
    )
    pipeline.rate()
    session = Session.objects.get(key="run")
    page = sign_in(scene, Role.VIEWER).get(f"/sessions/{session.public_id}")
    text = page.content.decode()
    assert "quota.customer.period" in text
    assert "$0.042 estimated" in text
    assert f"/admin/guard/decision/{denied.pk}/change/" in text
    assert "1 decision of the guard" in text


def test_decisions_of_others_are_not_shown(scene: Scene) -> None:
    other = make_scene()
    call(scene, "plan", 10)
    decide(other, second=20, inputs={"session_id": "run"})
    assert told().decision_count == 0


def test_the_page_asks_as_often_for_many_calls_as_for_one(
    scene: Scene, django_assert_max_num_queries: Any
) -> None:
    client = sign_in(scene, Role.VIEWER)
    last = ""
    for number in range(40):
        last = call(scene, f"t{number}", number, parent=last).event_id
        decide(scene, second=number, inputs={"session_id": "run"})
    pipeline.rate()
    path = f"/sessions/{Session.objects.get(key='run').public_id}"
    client.get(path)
    with django_assert_max_num_queries(24):
        page = client.get(path)
    assert page.context["fall"].event_count == 40
    assert page.context["fall"].decision_count == 40


def ended(scene: Scene, count: int, *, seconds: int = 100, calls: int = 2) -> None:
    """Let sessions of the product have ended, each after so many seconds."""
    for number in range(count):
        for step in range(calls):
            second = seconds * step // max(1, calls - 1)
            call(
                scene,
                f"e{number}-{step}",
                second,
                session_key=f"ended-{number}",
            )
    pipeline.rate()
    Session.objects.filter(key__startswith="ended-").update(state="completed")


def running(scene: Scene, *seconds: int) -> Session:
    """Return a running session with a call at each of these seconds."""
    for second in seconds:
        call(scene, f"r{second}", second)
    pipeline.rate()
    session = Session.objects.get(key="run")
    assert session.state == "active"
    return session


def test_an_estimate_by_the_pace_and_by_the_median(scene: Scene) -> None:
    ended(scene, 5, seconds=100, calls=8)
    session = running(scene, 0, 20, 40)
    found = session_estimate.estimate(session)
    assert found is not None
    assert (found.elapsed_ms, found.median_ms) == (40_000, 100_000)
    assert found.by_pace == session.price * Decimal("2.5")
    # A call is 0.01: three so far, eight in the median.
    assert (session.price, found.median_price) == (Decimal("0.03"), Decimal("0.08"))
    assert found.words == (
        "This session has used $0.03 so far. At the current rate it will reach $0.075"
        " by completion."
    )
    page = sign_in(scene, Role.VIEWER).get(f"/sessions/{session.public_id}")
    text = page.content.decode()
    assert "an estimate, not billed" in text
    assert found.words in text
    assert page.context["estimate"].ended_count == 5
    assert "ended sessions</a>" in text


def test_too_few_ended_sessions_give_no_estimate(scene: Scene) -> None:
    ended(scene, session_estimate.ENDED_MIN - 3)  # And two of the scene's own.
    session = running(scene, 0, 20, 40)
    Session.objects.exclude(pk=session.pk).exclude(key__startswith="ended").update(
        state="active"
    )
    assert session_estimate.estimate(session) is None
    page = sign_in(scene, Role.VIEWER).get(f"/sessions/{session.public_id}")
    assert "an estimate" not in page.content.decode()


def test_a_short_or_long_run_has_no_pace(scene: Scene) -> None:
    ended(scene, 5, seconds=100)
    short = session_estimate.estimate(running(scene, 0, 10, 20))
    assert short is not None
    assert (short.by_pace, "Too little" in short.basis) == (None, True)
    long = session_estimate.estimate(running(scene, 200))
    assert long is not None
    assert long.by_pace is None
    assert "does not say when it ends" in long.basis
    assert long.is_above


def test_what_has_ended_has_no_estimate(scene: Scene) -> None:
    ended(scene, 6)
    session = Session.objects.filter(key__startswith="ended").first()
    assert session is not None
    assert session_estimate.estimate(session) is None


def test_who_has_not_signed_in_does_not_see_the_page(
    scene: Scene, client: Client
) -> None:
    call(scene, "plan")
    pipeline.rate()
    path = f"/sessions/{Session.objects.get(key='run').public_id}"
    assert client.get(path).status_code == 302
    assert UsageEvent.objects.filter(session_key="run").count() == 1
