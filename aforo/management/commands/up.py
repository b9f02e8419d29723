"""Start everything with one command."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from aforo.embedded.launch import Options, up
from aforo.embedded.state import LauncherError


def _setting(text: str) -> tuple[str, str]:
    """Return the name and value of a setting; argparse shows what is wrong."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", name):
        raise ArgumentTypeError(f"“{text}” is not NAME=VALUE, as in work_mem=16MB")
    return name, value


class Command(BaseCommand):
    """Postgres, Redis, migrations, web server, worker and beat, until Ctrl-C."""

    help = "Start Aforo: database, Redis, web server, worker and beat, until Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--port", type=int, help="8000, or a free one when that is taken; 0: free"
        )
        parser.add_argument(
            "--data-dir", type=Path, help="where everything is kept (.aforo)"
        )
        parser.add_argument(
            "--no-demo", action="store_true", help="make no demo tenant"
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=min(2, os.cpu_count() or 1),
            help="processes of the Celery worker",
        )
        parser.add_argument(
            "--postgres",
            action="append",
            default=[],
            type=_setting,
            metavar="NAME=VALUE",
            help="a setting of the bundled Postgres, such as shared_buffers=1GB; "
            "may be given several times",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Start, and return when everything was stopped."""
        chosen = Options(
            data_dir=options["data_dir"] or settings.DATA_DIR,
            port=options["port"],
            demo=not options["no_demo"],
            workers=options["workers"],
            postgres=dict(options["postgres"]),
        )
        try:
            up(chosen, self._say)
        except LauncherError as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
