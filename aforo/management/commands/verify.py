"""Check every invariant on live data."""

from __future__ import annotations

import itertools
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from aforo.core.invariants import INVARIANTS as CORE
from aforo.lib import sql
from aforo.lib.invariants import BREAKS_MAX, Invariant
from billing.invariants import INVARIANTS as BILLING
from guard.invariants import INVARIANTS as GUARD
from metering.invariants import INVARIANTS as METERING

INVARIANTS: list[Invariant] = [*BILLING, *METERING, *GUARD, *CORE]


def breaks() -> dict[str, list[str]]:
    """Return what breaks each invariant, by its code; empty lists where it holds."""
    return {law.code: found for law, found in _checked(INVARIANTS)}


def _checked(laws: list[Invariant]) -> Iterator[tuple[Invariant, list[str]]]:
    """Yield each law with what breaks it; all but the live ones share a snapshot."""
    with sql.snapshot():
        for law in laws:
            if not law.live:
                yield law, list(itertools.islice(law.check(), BREAKS_MAX))
    for law in laws:
        if law.live:
            yield law, list(itertools.islice(law.check(), BREAKS_MAX))


class Command(BaseCommand):
    """Exits with 1 when an invariant is broken, and names what breaks it."""

    help = "Check every invariant of money, usage, edge state and tenancy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the codes to check; without any, all."""
        parser.add_argument("codes", nargs="*", help="such as I-1 I-19")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line for each invariant."""
        wanted = {code.upper() for code in options["codes"]}
        laws = [law for law in INVARIANTS if not wanted or law.code.upper() in wanted]
        broken = sum(self._told(law, found) for law, found in _checked(laws))
        self.stdout.write(f"{len(laws)} invariants, {broken} breaks")
        if broken:
            sys.exit(1)

    def _told(self, law: Invariant, found: list[str]) -> int:
        """Print what breaks a law; return how much."""
        mark = "ok " if not found else "BREAK"
        self.stdout.write(f"{mark:5} {law.code:6} {law.title}")
        self.stdout.flush()
        for sentence in found:
            self.stdout.write(f"             {sentence}")
        return len(found)
