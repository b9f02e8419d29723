"""One's own settings."""

from __future__ import annotations

import re

import pyotp
from django.test import Client

from aforo.core.models import AuditEntry, User
from aforo.lib import clock
from portal import second_factor
from portal.tests.conftest import PASSWORD


def test_the_theme_is_kept_and_written_into_the_page(
    as_olga: Client, olga: User
) -> None:
    as_olga.post("/profile/theme", {"theme": "dark", "next": "/profile"})
    olga.refresh_from_db()
    assert olga.theme == "dark"
    assert (
        '<html lang="en" data-theme="dark">' in as_olga.get("/profile").content.decode()
    )


def test_the_sign_in_page_keeps_the_theme_of_the_browser(tenant: object) -> None:
    browser = Client()
    browser.post("/profile/theme", {"theme": "dark"})
    assert 'data-theme="dark"' in browser.get("/login").content.decode()


def test_an_unknown_theme_is_refused(as_olga: Client) -> None:
    assert as_olga.post("/profile/theme", {"theme": '"><x'}).status_code == 400


def test_shortcuts_can_be_switched_off(as_olga: Client) -> None:
    assert "data-shortcuts" in as_olga.get("/profile").content.decode()
    as_olga.post("/profile", {"name": "Olga"})
    assert "data-shortcuts" not in as_olga.get("/profile").content.decode()


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(
    as_olga: Client, olga: User
) -> None:
    elsewhere = Client()
    elsewhere.force_login(olga)
    new = "another long one"
    wrong = as_olga.post("/profile/password", {"current": "no", "password": new})
    assert wrong.status_code == 422
    as_olga.post("/profile/password", {"current": PASSWORD, "password": new})
    olga.refresh_from_db()
    assert olga.check_password(new)
    assert as_olga.get("/profile").status_code == 200
    assert elsewhere.get("/profile").status_code == 302
    assert AuditEntry.objects.filter(action="user.password_changed").count() == 1


def shown_secret(browser: Client) -> str:
    """Return the key that the page shows beside the QR code."""
    page = browser.get("/profile/second-step").content.decode()
    assert "<svg" in page
    assert "style=" not in page
    found = re.search(r'class="secret">([A-Z2-7 ]+)<', page)
    assert found is not None
    return found[1].replace(" ", "")


def test_the_second_factor_is_on_only_after_a_right_code(
    as_olga: Client, olga: User
) -> None:
    secret = shown_secret(as_olga)
    assert as_olga.post("/profile/second-step", {"code": "000000"}).status_code == 422
    olga.refresh_from_db()
    assert not second_factor.is_on(olga)
    assert shown_secret(as_olga) == secret
    code = pyotp.TOTP(secret).at(clock.now())
    assert as_olga.post("/profile/second-step", {"code": code}).status_code == 302
    olga.refresh_from_db()
    assert second_factor.is_on(olga)
    assert secret not in olga.totp_secret
    assert second_factor.unseal(olga.totp_secret) == secret


def test_switching_the_second_factor_off_needs_the_password(
    as_olga: Client, olga: User
) -> None:
    second_factor.switch_on(
        olga, secret := second_factor.new_secret(), pyotp.TOTP(secret).at(clock.now())
    )
    path = "/profile/second-step/off"
    assert as_olga.post(path, {"current": "no"}).status_code == 422
    olga.refresh_from_db()
    assert second_factor.is_on(olga)
    as_olga.post(path, {"current": PASSWORD})
    olga.refresh_from_db()
    assert (second_factor.is_on(olga), olga.totp_secret) == (False, "")
