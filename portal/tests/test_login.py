"""Signing in and out."""

from __future__ import annotations

import pyotp
import pytest
from django.test import Client

from aforo.core.models import AuditEntry, User
from aforo.lib import clock
from portal import second_factor, throttle
from portal.tests.conftest import PASSWORD


def sign_in(client: Client, email: str, password: str, **extra: str):
    """Send the form."""
    return client.post("/login", {"email": email, "password": password, **extra})


def test_it_signs_in_and_goes_to_the_page_asked_for(olga: User) -> None:
    client = Client()
    answer = sign_in(client, "Olga@Acme.test", PASSWORD, next="/audit?actor=1")
    assert answer.status_code == 302
    assert answer["Location"] == "/audit?actor=1"
    assert client.get("/profile").status_code == 200


def test_it_never_goes_to_another_site(olga: User) -> None:
    for evil in ("https://evil.test/", "//evil.test", "javascript:alert(1)", "\\\\e"):
        answer = sign_in(Client(), olga.email, PASSWORD, next=evil)
        assert answer["Location"] == "/"


def test_it_says_the_same_for_a_wrong_password_and_an_unknown_person(
    olga: User,
) -> None:
    wrong = sign_in(Client(), olga.email, "not the password")
    unknown = sign_in(Client(), "nobody@acme.test", "not the password")
    assert wrong.status_code == unknown.status_code == 422
    assert wrong.context["form"].errors == unknown.context["form"].errors


def test_it_refuses_an_inactive_person_with_the_same_words(olga: User) -> None:
    User.objects.update(is_active=False)
    answer = sign_in(Client(), olga.email, PASSWORD)
    assert answer.status_code == 422
    assert "is not right" in answer.content.decode()


def test_it_stops_guessing_but_only_for_that_account(olga: User, victor: User) -> None:
    client = Client()
    for _ in range(throttle.FAILURES_MAX):
        assert sign_in(client, olga.email, "wrong").status_code == 422
    blocked = sign_in(client, olga.email, PASSWORD)
    assert blocked.status_code == 429
    assert blocked["Retry-After"] == "900"
    assert sign_in(client, victor.email, PASSWORD).status_code == 302


def test_a_success_forgets_earlier_failures(olga: User) -> None:
    for _ in range(3):
        for _ in range(throttle.FAILURES_MAX - 1):
            sign_in(Client(), olga.email, "wrong")
        assert sign_in(Client(), olga.email, PASSWORD).status_code == 302


def test_a_get_never_signs_out(as_olga: Client) -> None:
    assert as_olga.get("/logout").status_code == 405
    assert as_olga.get("/profile").status_code == 200
    as_olga.post("/logout")
    assert as_olga.get("/profile").status_code == 302


def test_signing_in_and_out_is_in_the_audit(olga: User) -> None:
    client = Client()
    sign_in(client, olga.email, PASSWORD)
    client.post("/logout")
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["user.signed_in", "user.signed_out"]


@pytest.fixture
def secret(olga: User) -> str:
    """The owner's second factor, switched on long ago."""
    made = second_factor.new_secret()
    olga.totp_secret, olga.totp_confirmed_at = second_factor.seal(made), clock.now()
    olga.save()
    return made


def code(secret: str) -> str:
    """Return the code of this moment."""
    return pyotp.TOTP(secret).at(clock.now())


def test_the_password_alone_is_not_enough_with_a_second_factor(
    olga: User, secret: str
) -> None:
    client = Client()
    assert sign_in(client, olga.email, PASSWORD, next="/audit")["Location"] == (
        "/login/code"
    )
    assert client.get("/profile").status_code == 302
    answer = client.post("/login/code", {"code": code(secret)})
    assert answer["Location"] == "/audit"
    assert client.get("/profile").status_code == 200


def test_a_code_works_once(olga: User, secret: str) -> None:
    used = code(secret)
    for expected in (302, 422):
        client = Client()
        sign_in(client, olga.email, PASSWORD)
        assert client.post("/login/code", {"code": used}).status_code == expected


@pytest.mark.parametrize("typed", ["000000", "", "１２３４５６", "abc", "12345678"])
def test_a_wrong_code_is_refused(olga: User, secret: str, typed: str) -> None:
    client = Client()
    sign_in(client, olga.email, PASSWORD)
    assert client.post("/login/code", {"code": typed}).status_code == 422
    assert client.get("/profile").status_code == 302


def test_guessing_codes_is_stopped(olga: User, secret: str) -> None:
    client = Client()
    sign_in(client, olga.email, PASSWORD)
    for _ in range(throttle.FAILURES_MAX):
        client.post("/login/code", {"code": "000000"})
    assert client.post("/login/code", {"code": code(secret)}).status_code == 429


def test_the_code_page_is_closed_without_a_password(olga: User, secret: str) -> None:
    answer = Client().post("/login/code", {"code": code(secret)})
    assert answer["Location"] == "/login"


def test_the_page_lets_password_managers_help(tenant: object) -> None:
    page = Client().get("/login").content.decode()
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
    assert "onpaste" not in page
