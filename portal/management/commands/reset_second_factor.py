"""Let somebody who lost their device sign in again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from aforo.core import audit
from aforo.core.models import Membership, User
from portal import second_factor


class Command(BaseCommand):
    """Switch a person's second factor off; it is written into the audit."""

    help = "Switch off two-step sign-in for somebody who lost their device."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the argument."""
        parser.add_argument("email", help="the person's e-mail address")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """Switch it off, or say why not."""
        email = options["email"].strip().lower()
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"Nobody has the address {email}.")
        if not second_factor.is_on(user):
            raise CommandError(f"Two-step sign-in of {email} is off already.")
        second_factor.switch_off(user)
        for membership in Membership.objects.filter(user=user):
            audit.record(
                tenant=membership.tenant_id,
                action="user.second_factor_reset",
                target=user,
                actor_label="manage.py reset_second_factor",
            )
        self.stdout.write(f"Two-step sign-in of {email} is off; they can set it anew.")
