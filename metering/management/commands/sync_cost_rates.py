"""Follow the public price list by hand; `--dry-run` only shows what would change."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from aforo.lib.money import plain
from catalog.cost_library import LIBRARY_VERSION
from catalog.cost_sync import Difference
from metering import cost_sync

SHOWN = 50


class Command(BaseCommand):
    """manage.py sync_cost_rates [--dry-run] [--model provider/model …]."""

    help = "Take the prices of the installed public price list over."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--dry-run", action="store_true", help="Write nothing.")
        parser.add_argument(
            "--model", action="append", default=[], help="Only provider/model."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what changed, or would change."""
        only = []
        for name in options["model"]:
            provider, _, model = name.partition("/")
            only.append((provider, model))
        report = cost_sync.run(dry_run=options["dry_run"], only=only)
        say = self.stdout.write
        would = " (nothing is written)" if options["dry_run"] else ""
        say(f"Price list {LIBRARY_VERSION}{would}")
        say(f"  new rates          {report.added:,}")
        say(f"  changed at once    {len(report.applied):,}")
        self._list(report.applied)
        say(f"  wait for approval  {len(report.waiting):,}")
        self._list(report.waiting)
        say(f"  no longer listed   {len(report.vanished):,}")
        for kind, count in sorted(report.faults.items()):
            say(f"  fault of the list  {kind}: {count:,}")

    def _list(self, found: list[Difference]) -> None:
        """Show the first differences of a kind."""
        for difference in found[:SHOWN]:
            before = difference.before
            old = plain(before.amount) if before else "none"
            share = "" if difference.ratio is None else f" ({difference.ratio:+.1%})"
            key = " ".join(str(part) for part in difference.key if part)
            self.stdout.write(
                f"    {difference.provider} {difference.model} {key}: {old} →"
                f" {plain(difference.after.amount)}{share}"
                f" from {difference.after.valid_from:%Y-%m-%d %H:%M}"
            )
        if len(found) > SHOWN:
            self.stdout.write(f"    … and {len(found) - SHOWN:,} more")
