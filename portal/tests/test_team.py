"""Members: invited, promoted, shut out."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Invitation, Membership, Role, Tenant, User
from aforo.lib import clock
from portal.tests.conftest import PASSWORD


def invited_link(browser: Client, email: str, role: str = "finance") -> str:
    """Invite somebody and return the path of the link that the next page shows."""
    answer = browser.post("/settings/team/invite", {"email": email, "role": role})
    assert answer.status_code == 302
    page = browser.get("/settings/team").content.decode()
    found = re.search(r"http://testserver(/join/[\w-]+)", page)
    assert found is not None
    return found[1]


def test_the_link_is_shown_once(as_olga: Client) -> None:
    link = invited_link(as_olga, "fay@acme.test")
    again = as_olga.get("/settings/team")
    assert link not in again.content.decode()
    assert "no-store" in again["Cache-Control"]


def test_the_link_is_stored_as_a_digest_only(as_olga: Client) -> None:
    token = invited_link(as_olga, "fay@acme.test").rsplit("/", 1)[1]
    made = Invitation.objects.get()
    assert made.token_digest != token
    assert len(made.token_digest) == 64


def test_somebody_new_joins_with_an_account_of_their_own(
    as_olga: Client, tenant: Tenant
) -> None:
    link = invited_link(as_olga, "Fay@acme.test")
    fay = Client()
    assert "fay@acme.test" in fay.get(link).content.decode()
    answer = fay.post(link, {"name": "Fay", "password": "a long enough one"})
    assert answer["Location"] == "/"
    member = Membership.objects.get(user__email="fay@acme.test")
    assert (member.role, member.tenant) == (Role.FINANCE, tenant)
    assert fay.get("/settings/team").status_code == 200
    assert Client().get(link).status_code == 410


def test_a_common_password_is_refused(as_olga: Client) -> None:
    link = invited_link(as_olga, "fay@acme.test")
    answer = Client().post(link, {"name": "Fay", "password": "password12"})
    assert answer.status_code == 422
    assert not User.objects.filter(email="fay@acme.test").exists()


def test_somebody_with_an_account_has_to_be_signed_in(
    as_olga: Client, make_member
) -> None:
    other = Tenant.objects.create(name="Northwind")
    nora = make_member(Role.OWNER, "Nora", of=other)
    link = invited_link(as_olga, nora.email, "viewer")
    assert "Sign in to join" in Client().get(link).content.decode()
    browser = Client()
    browser.login(username=nora.email, password=PASSWORD)
    assert browser.post(link).status_code == 302
    assert "Acme Metering" in browser.get("/settings/team").content.decode()
    assert Membership.objects.filter(user=nora).count() == 2


def test_another_person_cannot_use_the_link_of_an_account(
    as_olga: Client, as_victor: Client, make_member
) -> None:
    other = Tenant.objects.create(name="Northwind")
    nora = make_member(Role.OWNER, "Nora", of=other)
    link = invited_link(as_olga, nora.email)
    as_victor.post(link)
    assert Membership.objects.filter(user=nora).count() == 1


def test_a_newer_link_replaces_an_older_one(as_olga: Client) -> None:
    first = invited_link(as_olga, "fay@acme.test")
    second = invited_link(as_olga, "fay@acme.test")
    assert Client().get(first).status_code == 410
    assert Client().get(second).status_code == 200


def test_a_link_ends_after_seven_days(as_olga: Client) -> None:
    link = invited_link(as_olga, "fay@acme.test")
    with clock.travel(clock.now() + dt.timedelta(days=7, minutes=1)):
        assert Client().get(link).status_code == 410


def test_a_withdrawn_link_no_longer_works(as_olga: Client) -> None:
    link = invited_link(as_olga, "fay@acme.test")
    as_olga.post(f"/settings/team/invitations/{Invitation.objects.get().pk}")
    assert Client().get(link).status_code == 410


@pytest.mark.parametrize("role", ["developer", "root", ""])
def test_only_staff_roles_can_be_given(as_olga: Client, role: str) -> None:
    data = {"email": "fay@acme.test", "role": role}
    assert as_olga.post("/settings/team/invite", data).status_code == 422


def test_a_viewer_sees_the_team_and_changes_nothing(
    as_victor: Client, olga: User
) -> None:
    page = as_victor.get("/settings/team")
    assert page.status_code == 200
    assert "/settings/team/invite" not in page.content.decode()
    member = Membership.objects.get(user=olga)
    for path in (
        "/settings/team/invite",
        f"/settings/team/{member.pk}/role",
        f"/settings/team/{member.pk}/deactivate",
    ):
        assert as_victor.post(path, {"role": "viewer"}).status_code == 403
    member.refresh_from_db()
    assert (member.role, member.is_active) == (Role.OWNER, True)


def test_the_last_owner_can_be_neither_demoted_nor_deactivated(
    as_olga: Client, olga: User
) -> None:
    member = Membership.objects.get(user=olga)
    as_olga.post(f"/settings/team/{member.pk}/role", {"role": "viewer"})
    answer = as_olga.post(f"/settings/team/{member.pk}/deactivate", follow=True)
    assert "There must be an owner" in answer.content.decode()
    member.refresh_from_db()
    assert (member.role, member.is_active) == (Role.OWNER, True)


def test_a_role_change_is_audited(as_olga: Client, victor: User) -> None:
    member = Membership.objects.get(user=victor)
    as_olga.post(f"/settings/team/{member.pk}/role", {"role": "finance"})
    entry = AuditEntry.objects.get(action="member.role_changed")
    assert entry.changes == {"role": ["Viewer", "Finance"]}


def test_deactivation_asks_first_and_works_at_once(
    as_olga: Client, as_victor: Client, victor: User
) -> None:
    path = f"/settings/team/{Membership.objects.get(user=victor).pk}/deactivate"
    assert "Deactivate Victor?" in as_olga.get(path).content.decode()
    assert as_victor.get("/settings/team").status_code == 200
    as_olga.post(path)
    assert as_victor.get("/settings/team").status_code == 403
    as_olga.post(path.replace("deactivate", "reactivate"))
    assert as_victor.get("/settings/team").status_code == 200


def test_members_of_another_tenant_cannot_be_touched(
    as_olga: Client, make_member
) -> None:
    other = Tenant.objects.create(name="Northwind")
    nora = make_member(Role.VIEWER, "Nora", of=other)
    member = Membership.objects.get(user=nora)
    for deed in ("role", "deactivate", "reactivate"):
        answer = as_olga.post(f"/settings/team/{member.pk}/{deed}", {"role": "owner"})
        assert answer.status_code == 404
