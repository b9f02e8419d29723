"""Bring the database up to this version of the code."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from aforo.demo import seed
from aforo.embedded import state


class Command(BaseCommand):
    """Migrations, static files and, if asked for, a demo tenant; safe to repeat."""

    help = "Run pending migrations and collect static files; run it at every deploy."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--demo", action="store_true", help="make a demo tenant if there is none"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is left to do."""
        pending = pending_migrations()
        if pending:
            call_command("migrate", interactive=False, verbosity=0)
        self._say(f"{pending} migrations applied" if pending else "up to date")
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        if not settings.WHITENOISE_USE_FINDERS:
            call_command("collectstatic", interactive=False, verbosity=0)
        if options["demo"] and (not has_tenant() or demo_is_unfinished()):
            self._say("making a demo tenant")
            call_command("demo", seed_only=True)

    def _say(self, text: str) -> None:
        self.stdout.write(f"  database  {text}")
        self.stdout.flush()


def pending_migrations() -> int:
    """Return how many migrations the database has not seen."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def has_tenant() -> bool:
    """Say whether anybody has set this database up."""
    tenants: Any = apps.get_model("core", "Tenant")
    return bool(tenants._base_manager.exists())


def demo_is_unfinished() -> bool:
    """Say whether the demo tenant was begun and its logins never written down.

    A start that was stopped or failed half-way goes on at the next one.
    """
    logins = state.read_run(settings.DATA_DIR).get("demo_logins")
    return not logins and seed.find() is not None
