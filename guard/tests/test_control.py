"""What people decide, from the record to the next call: real Postgres, real Redis."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from aforo.core.models import AuditEntry
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from billing import accounts
from guard import door, journal, latency, observing, overrides, projection, rehearsing
from guard.engine.decision import Decision as Judged
from guard.engine.decision import Outcome, Reason
from guard.models import Decision, DoorCount, ObserveOnly, Override
from guard.tests.conftest import tell_edge
from guard.tests.doors import Asker
from tests.factories import Shop, make_shop

CAP = Reason.SPEND_CAP_CUSTOMER.value
HOUR = dt.timedelta(hours=1)


def dry(shop: Shop) -> Judged:
    """Return what a call of the shop's agent would be answered now."""
    question = rehearsing.question(
        shop.customer.tag, shop.tenant.public_id, agent=shop.agent.public_id
    )
    found = rehearsing.ask_one(question, shop.customer.pk)
    assert found is not None
    return found


@pytest.fixture
def capped(shop: Shop) -> Shop:
    """The shop, its customer's cap at nothing."""
    shop.customer.spend_cap = 0
    shop.customer.save()
    projection.project(shop.customer.pk)
    assert dry(shop).reason == Reason.SPEND_CAP_CUSTOMER
    return shop


Commits = Callable[..., Any]


def subject(shop: Shop) -> dict[str, Any]:
    return {
        "customer": shop.customer,
        "agent": shop.agent,
        "actor": shop.owner,
        "reason": "on the phone",
    }


def test_a_release_holds_after_the_commit_and_its_end_before_it(
    capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        made = overrides.release(limit=CAP, **subject(capped))
        assert dry(capped).outcome == Outcome.DENY
    assert dry(capped).override_id == made.public_id
    overrides.end(override=made, actor=capped.owner)
    assert dry(capped).outcome == Outcome.DENY


def test_a_release_of_one_agent_does_not_free_another(
    capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    other = accounts.create_agent(
        team=capped.agent.team, name="Other", kind=capped.agent.Kind.AGENT, actor=None
    )
    with django_capture_on_commit_callbacks(execute=True):
        overrides.release(limit=CAP, **{**subject(capped), "agent": other})
    assert dry(capped).outcome == Outcome.DENY


def test_a_throttle_is_met_before_its_commit(shop: Shop) -> None:
    made = overrides.throttle(lasts=HOUR, **subject(shop))
    assert dry(shop).reason == Reason.AGENT_THROTTLED
    with clock.travel(clock.now() + 2 * HOUR):
        projection.project(shop.customer.pk)
        with pytest.raises(AforoError, match="over already"):
            overrides.end(override=made, actor=shop.owner)
    assert dry(shop).outcome == Outcome.ALLOW


@pytest.mark.parametrize("code", ["agent.paused", CAP + "x", "ceiling.request.call"])
def test_only_limits_can_be_lifted(shop: Shop, code: str) -> None:
    with pytest.raises(AforoError) as caught:
        overrides.release(limit=code, **subject(shop))
    assert caught.value.code == "cannot_lift"
    assert not Override.objects.exists()


def test_nobody_decides_for_more_than_a_week(shop: Shop) -> None:
    with pytest.raises(AforoError) as caught:
        overrides.throttle(lasts=dt.timedelta(days=8), **subject(shop))
    assert caught.value.code == "invalid_span"


def test_what_people_decide_is_in_the_audit_with_names_and_reasons(
    capped: Shop,
) -> None:
    made = overrides.release(limit=CAP, **subject(capped))
    overrides.end(override=made, actor=capped.owner, reason="enough")
    overrides.snooze(tenant=capped.tenant, key="velocity:x", actor=capped.owner)
    found = AuditEntry.objects.filter(action__startswith="guard.").order_by("pk")
    assert [(e.action, e.reason, e.actor_id) for e in found] == [
        ("guard.released", "on the phone", capped.owner.pk),
        ("guard.override_ended", "enough", capped.owner.pk),
        ("guard.snoozed", "", capped.owner.pk),
    ]


def test_observe_only_reaches_the_customers_of_its_tenant_and_no_other(
    capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    other = make_shop(limits={"spend_cap": "0"})
    tell_edge(other)
    with django_capture_on_commit_callbacks(execute=True):
        made = observing.start(
            tenant=capped.tenant, actor=capped.owner, reason="it stops what must run"
        )
        assert dry(capped).outcome == Outcome.DENY
    assert dry(capped).would_reason == Reason.SPEND_CAP_CUSTOMER
    assert dry(other).outcome == Outcome.DENY
    # A projection of the whole customer keeps it.
    projection.project(capped.customer.pk)
    assert dry(capped).would_reason == Reason.SPEND_CAP_CUSTOMER
    assert made.ends_at - made.created_at == pytest.approx(
        observing.LASTS, abs=dt.timedelta(seconds=5)
    )


def test_observe_only_ends_by_hand_before_the_commit(
    capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    given: dict[str, Any] = {"tenant": capped.tenant, "actor": capped.owner}
    with django_capture_on_commit_callbacks(execute=True):
        observing.start(**given, reason="a reason")
        with pytest.raises(AforoError, match="already"):
            observing.start(**given, reason="again")
    observing.stop(**given, reason="fixed")
    assert dry(capped).outcome == Outcome.DENY
    assert observing.current(capped.tenant, clock.now()) is None
    with pytest.raises(AforoError, match="enforces"):
        observing.stop(**given, reason="again")
    actions = AuditEntry.objects.filter(action__startswith="guard.observe")
    assert actions.count() == 2


def test_observe_only_is_over_after_half_an_hour_without_anybody(
    capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    past = clock.now() - observing.LASTS - dt.timedelta(seconds=1)
    with clock.travel(past), django_capture_on_commit_callbacks(execute=True):
        observing.start(tenant=capped.tenant, actor=capped.owner, reason="a reason")
    # No job ran: the edge still has the instant, and compares it with its own clock.
    assert dry(capped).outcome == Outcome.DENY
    assert ObserveOnly.objects.get().ended_at is None


def stored(shop: Shop) -> list[Decision]:
    """Collect what doors spooled and return it, the oldest first."""
    door.journal()._opened = 0
    door.journal().rotate()
    journal.collect(door.journal()._folder)
    return list(Decision.objects.filter(tenant=shop.tenant).order_by("pk"))


def test_a_door_says_and_reports_what_it_would_have_decided(
    any_door: Any, capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        observing.start(tenant=capped.tenant, actor=capped.owner, reason="a reason")
    reply = Asker(any_door, f"Bearer {capped.secret}").ask(request_id="watched")
    assert reply.status == 200
    assert reply.headers["x-aforo-observe-only"] == "true"
    assert reply.json["observe_only"] is True
    assert reply.json["would"] == {"decision": "deny", "reason_code": CAP}
    (row,) = stored(capped)
    assert (row.decision, row.observed, row.reason_code) == ("allow", True, CAP)
    assert DoorCount.objects.get().observed == 1


def test_an_exemption_for_one_call_is_told_as_taken(
    any_door: Any, capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    caller = Asker(any_door, f"Bearer {capped.secret}")
    assert caller.ask(request_id="one").status == 429
    given = subject(capped)
    with django_capture_on_commit_callbacks(execute=True):
        made = overrides.allow_once(limit=CAP, **given)
    assert caller.ask(request_id="two").status == 200
    assert caller.ask(request_id="three").status == 429
    denied, passed, again = stored(capped)
    assert [denied.decision, passed.decision, again.decision] == [
        "deny",
        "allow",
        "deny",
    ]
    assert passed.inputs["override"] == made.public_id
    made.refresh_from_db()
    assert made.used_at == passed.decided_at


def test_a_call_past_the_warn_line_is_told_once_a_minute_and_counted_each_time(
    any_door: Any, shop: Shop
) -> None:
    shop.customer.spend_cap = 1
    shop.customer.save()
    projection.project(shop.customer.pk)
    caller = Asker(any_door, f"Bearer {shop.secret}")
    for amount in ("0.79", "0.05", "0.05"):
        assert caller.ask(estimate={"amount": amount}).status == 200
    (row,) = stored(shop)
    assert (row.decision, row.warned, row.reason_code) == ("allow", True, CAP)
    counted = DoorCount.objects.get()
    assert (counted.allowed, counted.warned) == (3, 2)
    assert sum(counted.latency) == 3


def test_counts_of_one_minute_from_two_files_add_up_step_by_step(
    any_door: Any, shop: Shop
) -> None:
    caller = Asker(any_door, f"Bearer {shop.secret}")
    # Both within a minute of the clock, or the test says nothing.
    for _ in range(2):
        assert caller.ask().status == 200
        stored(shop)
    rows = DoorCount.objects.all()
    assert sum(sum(row.latency) for row in rows) == 2
    assert all(len(row.latency) == latency.STEPS for row in rows)


def test_a_dry_run_of_a_stored_decision_asks_the_same_question(
    any_door: Any, capped: Shop, django_capture_on_commit_callbacks: Commits
) -> None:
    caller = Asker(any_door, f"Bearer {capped.secret}")
    caller.ask(estimate={"amount": "0.5", "units": {"input_tokens": 7}}, ceiling=3)
    (row,) = stored(capped)
    question = rehearsing.again(
        row, capped.customer.tag, capped.tenant.public_id, digest=""
    )
    assert (question.amount_micros, question.units) == (500_000, {"input_tokens": 7})
    assert (question.ceiling_micros, question.dry_run) == (3_000_000, True)
    assert question.agent == ids.public("agt", capped.agent.pk)
    (found,) = rehearsing.ask([question])
    assert found is not None
    assert found.reason == Reason.SPEND_CAP_CUSTOMER


def test_steps_of_durations_give_upper_bounds() -> None:
    counts = [0] * latency.STEPS
    for us in [90] * 98 + [450, 2_000_000]:
        counts[latency.step(us)] += 1
    assert latency.quantile_us(counts, 0.5) == 100
    assert latency.quantile_us(counts, 0.99) == 500
    assert latency.quantile_us(counts, 1) == latency.BOUNDS_US[-1]
    assert latency.quantile_us([], 0.5) is None
