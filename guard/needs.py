"""What needs a person in the control room: finders that any app may add.

    needs.register("wallet", find)

`find(tenant, now)` returns what it found, in a fixed number of statements, run as the
tenant's web role each time that the page is drawn.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, transaction

from aforo.core.models import Tenant
from guard.models import Override

logger = logging.getLogger(__name__)

SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that needs somebody, and what can be done about it."""

    key: str  # What it is about, the same as long as it lasts: snoozes go by it.
    tone: str  # warn or bad
    title: str
    text: str = ""
    since: dt.datetime | None = None
    actions: tuple[tuple[str, str], ...] = ()  # Label and address, the best first.


Finder = Callable[[Tenant, dt.datetime], Iterable[Need]]

_finders: dict[str, Finder] = {}


def register(name: str, finder: Finder) -> None:
    """Add a finder; one of the same name is replaced."""
    _finders[name] = finder


def snoozed(now: dt.datetime) -> set[str]:
    """Return the keys that somebody snoozed; one statement."""
    rows = Override.objects.filter(
        kind=Override.Kind.SNOOZE, ends_at__gt=now, ended_at__isnull=True
    )
    return set(rows.values_list("name", flat=True))


def found(tenant: Tenant, now: dt.datetime) -> list[Need]:
    """Return what needs somebody and is not snoozed, the worst first.

    A finder that fails is logged and left out: the others are worth seeing.
    """
    hidden = snoozed(now)
    seen: list[Need] = []
    for name, finder in _finders.items():
        try:
            with transaction.atomic():
                seen += finder(tenant, now)
        except DatabaseError:
            logger.exception("what %s finds could not be read", name)
    shown = [need for need in seen if need.key not in hidden]
    return sorted(shown, key=lambda need: need.tone != "bad")[:SHOWN_MAX]
