"""The frame of every page, errors and health."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings

from aforo.core.models import Role
from portal import context
from portal.ui import states

SPRITE = (settings.BASE_DIR / "static/icons.svg").read_text()
OWN_PAGES = (
    "/profile",
    "/profile/password",
    "/profile/second-step",
    "/settings/team",
    "/audit",
    "/search?q=a",
    "/dev/ui",
)


def test_every_link_of_the_navigation_leads_to_a_page(as_olga: Client) -> None:
    page = as_olga.get("/profile").content.decode()
    paths = re.findall(r'class="nav-link" href="([^"]+)"', page)
    assert {"/settings/team", "/audit", "/profile"} <= set(paths)
    for path in paths:
        assert as_olga.get(path, follow=True).status_code == 200, path


def test_the_simulator_is_offered_to_those_who_may_use_it(
    make_member,
) -> None:
    for role, offered in ((Role.FINANCE, True), (Role.VIEWER, False)):
        client = Client()
        client.force_login(make_member(role, role.label))
        answer = client.get("/simulator")
        assert answer.status_code == (200 if offered else 403)
        assert ('href="/simulator"' in client.get("/").content.decode()) is offered
        found = client.get("/search?q=simul").content.decode()
        assert ('href="/simulator"' in found) is offered


def test_every_letter_jumps_to_one_page() -> None:
    keys = [link.key for link in context.links(Role.OWNER) if link.key]
    assert len(keys) == len(set(keys))


def test_a_page_that_does_not_exist_is_not_linked() -> None:
    assert not context.exists("/no/such/page")


@pytest.mark.parametrize("path", OWN_PAGES)
def test_pages_hold_no_inline_style_script_or_foreign_address(
    as_olga: Client, path: str
) -> None:
    answer = as_olga.get(path)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "'unsafe" not in answer["Content-Security-Policy"]


@pytest.mark.parametrize("path", OWN_PAGES)
def test_ids_are_unique_and_labels_point_somewhere(as_olga: Client, path: str) -> None:
    page = as_olga.get(path).content.decode()
    found = re.findall(r'\sid="([^"]+)"', page)
    assert len(found) == len(set(found))
    for name in ("for", "aria-controls", "popovertarget", "commandfor"):
        assert set(re.findall(rf'\s{name}="([^"]+)"', page)) <= set(found)


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', SPRITE))
    used = {state.icon for state in states.STATES.values()}
    used |= {link.icon for _, links in context.NAVIGATION for link in links}
    for path in Path(settings.BASE_DIR / "templates").rglob("*.html"):
        used |= set(re.findall(r'icon(?:_name=)? ?"([a-z0-9-]+)"', path.read_text()))
    assert used - drawn == set()


def test_every_frame_that_scrolls_has_a_name_and_takes_the_keyboard() -> None:
    places = [
        *Path(settings.BASE_DIR / "templates").rglob("*.html"),
        Path(settings.BASE_DIR / "portal/templatetags/aforo_ui.py"),
    ]
    frames = [
        frame
        for path in places
        for frame in re.findall(r'<div class="table-wrap[^>]*>', path.read_text())
    ]
    assert len(frames) >= 4
    for frame in frames:
        assert 'tabindex="0"' in frame, frame
        assert re.search(r' role="(region|group)"', frame), frame
        assert re.search(r" aria-label(ledby)?=", frame), frame


def test_the_budgets_of_css_and_scripts_are_kept() -> None:
    css = (settings.BASE_DIR / "static/css/aforo.css").stat().st_size
    assert css <= 30 * 1024
    scripts = list((settings.BASE_DIR / "static/js").glob("*.js"))
    assert scripts
    sizes = {path.name: path.stat().st_size for path in scripts}
    # Of the composer's page alone: the form, and its tables of tiers and of rows.
    form = ("composer.js", "tables.js", "tiers.js", "rows.js")
    assert sum(sizes.pop(name) for name in form) <= 15 * 1024
    assert sum(sizes.values()) <= 20 * 1024


def test_a_developer_has_no_console(make_member, tenant) -> None:
    from billing.models import Customer

    customer = Customer.objects.create(tenant=tenant, name="Acme", currency="USD")
    dev = make_member(Role.VIEWER, "Dev")
    dev.memberships.update(role=Role.DEVELOPER, customer_id=customer.pk)
    browser = Client()
    browser.force_login(dev)
    for path in OWN_PAGES:
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "<strong>Owner</strong>" in answer.content.decode()
        assert "Developer" in answer.content.decode()


@pytest.mark.parametrize("path", OWN_PAGES)
def test_a_stranger_is_led_to_sign_in_and_back(tenant: object, path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login?next=")


def test_a_wrong_address_a_missing_role_and_a_fault_look_different(
    as_victor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = as_victor.get("/no/such/page")
    assert lost.status_code == 404
    assert "/no/such/page" in lost.content.decode()
    kept_out = as_victor.post("/settings/team/invite")
    assert kept_out.status_code == 403
    assert "<strong>Owner</strong>" in kept_out.content.decode()
    # A fault of the database, at the point where the page asks it.
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry RENAME TO gone")
    broken = as_victor.get("/audit")
    assert broken.status_code == 500
    assert broken["X-Incident"] in broken.content.decode()


def test_a_form_without_its_token_is_explained(olga: object) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/login", {"email": "a@b.test", "password": "x"})
    assert answer.status_code == 403
    assert "reload the page" in answer.content.decode()


def test_a_wrong_api_address_answers_json(tenant: object) -> None:
    answer = Client().get("/v1/no-such-thing")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_health_tells_database_redis_and_version(tenant: object) -> None:
    answer = Client().get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "database": "ok",
        "redis": "ok",
        "version": settings.VERSION,
    }


def test_health_is_503_without_redis(tenant: object) -> None:
    with override_settings(GUARD_REDIS_URL="redis://127.0.0.1:1/0"):
        answer = Client().get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["redis"] == "down"


def test_search_finds_pages_as_a_fragment_and_as_a_page(as_olga: Client) -> None:
    fragment = as_olga.get("/search?q=aud", headers={"HX-Request": "true"})
    assert "<html" not in fragment.content.decode()
    assert 'href="/audit"' in fragment.content.decode()
    assert "<html" in as_olga.get("/search?q=aud").content.decode()
    assert as_olga.get("/search?q=%00").status_code == 200
