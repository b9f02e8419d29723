"""A session is ended on its page: by whom, after a question, kept in the audit."""

from __future__ import annotations

import pytest

from aforo.core.models import AuditEntry, Role
from aforo.management.commands.verify import breaks
from metering import ending, pipeline
from metering.models import Session
from portal.tests.scene import Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db


def running(scene: Scene) -> Session:
    """Return this month's session, which still runs."""
    return Session.objects.get(customer=scene.customer, key="run-1118")


def path_of(session: Session) -> str:
    """Return the address of a session's page."""
    return f"/sessions/{session.public_id}"


@pytest.mark.parametrize("role", [Role.OWNER, Role.OPERATIONS])
def test_it_is_asked_done_and_audited(scene: Scene, role: Role) -> None:
    session = running(scene)
    path = path_of(session)
    client = sign_in(scene, role)
    assert f'href="{path}/end"' in client.get(path).content.decode()
    asked = client.get(f"{path}/end").content.decode()
    assert "End this session?" in asked
    assert scene.customer.name in asked
    session.refresh_from_db()
    assert session.state == "active"
    given = {"state": "failed", "reason": "gave up"}
    done = client.post(f"{path}/end", given, follow=True).content.decode()
    assert "The session has failed; it comes to $" in done
    assert f'href="{path}/end"' not in done
    session.refresh_from_db()
    assert session.state == "failed"
    assert session.ended_at is not None
    entry = AuditEntry.objects.get(action="session.ended")
    assert entry.object_id == session.public_id
    assert entry.actor_label == str(scene.people[str(role)])
    assert (entry.reason, entry.changes["state"]) == ("gave up", ["active", "failed"])
    # What comes later is attached and leaves it ended.
    scene.store({"input_tokens": 5}, session_key=session.key)
    pipeline.rate()
    before, session = session, running(scene)
    assert session.event_count == before.event_count + 1
    assert session.state == "failed"
    assert {code: found for code, found in breaks().items() if found} == {}


def test_a_second_end_changes_nothing(scene: Scene) -> None:
    session = running(scene)
    ending.end(session, state="completed", actor=scene.shop.owner)
    client = sign_in(scene, Role.OPERATIONS)
    for send in (client.get, client.post):
        said = send(f"{path_of(session)}/end", {"state": "failed"}, follow=True)
        assert "had ended already; nothing changed" in said.content.decode()
    assert running(scene).state == "completed"
    assert AuditEntry.objects.filter(action="session.ended").count() == 1


def test_an_odd_state_is_refused_in_the_form(scene: Scene) -> None:
    path = f"{path_of(running(scene))}/end"
    answer = sign_in(scene, Role.OPERATIONS).post(path, {"state": "idle"})
    assert answer.status_code == 422
    assert "idle is not one of the available choices" in answer.content.decode()
    assert running(scene).state == "active"


@pytest.mark.parametrize(
    "role", [Role.VIEWER, Role.FINANCE, Role.PRODUCT_MANAGER, Role.DEVELOPER]
)
def test_others_are_not_offered_it_and_refused(scene: Scene, role: Role) -> None:
    path = path_of(running(scene))
    client = sign_in(scene, role)
    assert "End session" not in client.get(path).content.decode()
    for send in (client.get, client.post):
        assert send(f"{path}/end", {"state": "completed"}).status_code == 403
    assert running(scene).state == "active"


def test_a_session_of_another_tenant_is_not_found(scene: Scene) -> None:
    other = running(make_scene())
    client = sign_in(scene, Role.OWNER)
    for send in (client.get, client.post):
        assert send(f"{path_of(other)}/end", {"state": "failed"}).status_code == 404
    other.refresh_from_db()
    assert other.state == "active"
