"""The command for a lost device."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from aforo.core.models import AuditEntry, User
from aforo.lib import clock
from portal import second_factor


def test_it_switches_the_second_factor_off_and_says_so_in_the_audit(
    olga: User,
) -> None:
    sealed = second_factor.seal(second_factor.new_secret())
    olga.totp_secret, olga.totp_confirmed_at = sealed, clock.now()
    olga.save()
    call_command("reset_second_factor", "Olga@acme.test")
    olga.refresh_from_db()
    assert not second_factor.is_on(olga)
    assert AuditEntry.objects.get().action == "user.second_factor_reset"


def test_it_refuses_where_there_is_nothing_to_reset(olga: User) -> None:
    with pytest.raises(CommandError, match="off already"):
        call_command("reset_second_factor", olga.email)
    with pytest.raises(CommandError, match="Nobody"):
        call_command("reset_second_factor", "nobody@acme.test")
