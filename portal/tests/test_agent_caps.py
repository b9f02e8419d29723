"""Caps of agents and teams on the pages: set by who may, shown, and met."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing import accounts, agent_caps, periods
from billing.models import Agent, Team
from portal.guardroom import limited
from portal.tests.scene import NOW, Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A customer that used its agent; the clock stands still."""
    made = make_scene()
    with clock.travel(NOW):
        yield made


def hierarchy(scene: Scene, role: Role = Role.FINANCE) -> str:
    page = sign_in(scene, role).get(f"{scene.path}/hierarchy")
    assert page.status_code == 200
    return page.content.decode()


def spent(scene: Scene) -> Decimal:
    """Return what the ledger says the agent was charged in the period."""
    period = periods.find(scene.customer.pk, NOW)
    rows = scene.ledger().filter(agent=scene.agent, usage_period=period, kind="usage")
    return sum((row.amount for row in rows), Decimal(0))


@pytest.mark.parametrize("kind", ["agents", "teams"])
def test_a_cap_is_set_shown_and_taken_off(scene: Scene, kind: str) -> None:
    target: Agent | Team = scene.agent if kind == "agents" else scene.shop.team
    path = f"/{kind}/{target.public_id}/spend-cap"
    client = sign_in(scene, Role.FINANCE)
    assert path in hierarchy(scene)
    assert "already met stops them" in client.get(path).content.decode()
    done = client.post(path, {"amount": "1000", "reason": "a trial"}, follow=True)
    assert f"The spend cap of {target} is $1,000.00." in done.content.decode()
    target.refresh_from_db()
    assert target.spend_cap == 1000
    assert "of $1,000.00" in hierarchy(scene)
    entry = AuditEntry.objects.get(object_id=target.public_id, reason="a trial")
    assert entry.changes == {"spend_cap": [None, "1000"]}
    for wrong in ("-1", "many", "9000000001"):
        assert client.post(path, {"amount": wrong}).status_code == 422
    client.post(path, {"amount": ""})
    target.refresh_from_db()
    assert target.spend_cap is None


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATIONS])
def test_others_are_offered_no_cap_and_refused(scene: Scene, role: Role) -> None:
    assert "/spend-cap" not in hierarchy(scene, role)
    client = sign_in(scene, role)
    for path in (
        f"/agents/{scene.agent.public_id}/spend-cap",
        f"/teams/{scene.shop.team.public_id}/spend-cap",
    ):
        assert client.get(path).status_code == 403
        assert client.post(path, {"amount": "1"}).status_code == 403
    scene.agent.refresh_from_db()
    assert scene.agent.spend_cap is None


def test_agents_and_teams_of_another_tenant_are_absent(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    for path in (
        f"/agents/{other.agent.public_id}/spend-cap",
        f"/teams/{other.shop.team.public_id}/spend-cap",
    ):
        assert client.get(path).status_code == 404
        assert client.post(path, {"amount": "1"}).status_code == 404


@pytest.mark.parametrize(
    ("kind", "whose"), [("agent", "its own"), ("team", "its team's")]
)
def test_a_cap_that_is_met_shows_the_agent_paused(
    scene: Scene, kind: str, whose: str
) -> None:
    target = scene.agent if kind == "agent" else scene.shop.team
    total = spent(scene)
    assert total > 0
    agent_caps.set_spend_cap(target=target, amount=total, actor=None)
    text = hierarchy(scene)
    assert "Paused by cap" in text
    assert f"{whose} spend cap of the period is met" in text.replace("&#x27;", "'")
    step = Decimal("0.000001")
    agent_caps.set_spend_cap(target=target, amount=total + step, actor=None)
    assert "Paused by cap" not in hierarchy(scene)


def test_who_is_limited_has_the_agents_that_a_cap_paused(scene: Scene) -> None:
    agent_caps.set_spend_cap(target=scene.agent, amount=spent(scene), actor=None)
    (row,) = limited.now_limited(scene.tenant, NOW)
    assert (row.state, row.code) == ("deny", "spend_cap.agent.period")
    assert (row.agent, row.is_capped, row.may_release) == (scene.agent, True, True)
    assert row.resets
    text = sign_in(scene, Role.OPERATIONS).get("/guard").content.decode()
    assert "Paused by cap" in text
    # Paused by a person is another state, and named once.
    accounts.pause_agent(agent=scene.agent, actor=None)
    (row,) = limited.now_limited(scene.tenant, NOW)
    assert (row.state, row.code) == ("paused", "agent.paused")
    accounts.resume_agent(agent=scene.agent, actor=None)
    agent_caps.set_spend_cap(target=scene.agent, amount=None, actor=None)
    assert limited.now_limited(scene.tenant, NOW) == []
