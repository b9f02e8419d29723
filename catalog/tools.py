"""Which tool a name in an event stands for: pure, from the product's registry.

A tool keeps the name it was registered under for ever; aliases and new names lead to
it for as long as they are valid at the time of the event. So a rename moves no price
and splits no history: plans, cost rates and hourly sums go on under the first name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

# The property by which charges filter for a tool.
PROPERTY = "tool"


class Name(NamedTuple):
    """A name of a tool over [valid_from, valid_to); None is without an end."""

    name: str
    version: str
    valid_from: dt.datetime | None
    valid_to: dt.datetime | None

    def holds(self, at: dt.datetime) -> bool:
        """Tell whether the name is in force at an instant."""
        if self.valid_from is not None and at < self.valid_from:
            return False
        return self.valid_to is None or at < self.valid_to


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool of a product: its first name, and the others, oldest first."""

    name: str
    deprecated_at: dt.datetime | None = None
    names: tuple[Name, ...] = ()


class Resolved(NamedTuple):
    """What a name stood for at a time."""

    tool: Listed
    version: str  # Empty where none is kept.
    is_deprecated: bool

    @property
    def name(self) -> str:
        """The name that the tool was registered under."""
        return self.tool.name


@dataclass(frozen=True, slots=True)
class Registry:
    """The tools of one product by every name they ever had."""

    by_name: Mapping[str, tuple[tuple[Listed, Name | None], ...]]

    def resolve(self, name: str, at: dt.datetime) -> Resolved | None:
        """Return what a name in an event stood for at its time; None: not listed."""
        for tool, known in self.by_name.get(name, ()):
            if known is None or known.holds(at):
                old = tool.deprecated_at is not None and tool.deprecated_at <= at
                return Resolved(tool, known.version if known else "", old)
        return None

    def canonical(self, name: str, at: dt.datetime) -> str:
        """Return the tool's first name, or the name itself when it is not listed."""
        found = self.resolve(name, at)
        return found.name if found else name

    def priced_as(self, name: str, at: dt.datetime, named: Collection[str]) -> str:
        """Return the name under which a plan prices the tool.

        `named` are the tools that the plan's filters name. A name that the plan itself
        names stays as it is, so listing a tool or an alias never moves a price that is
        in force; then comes the tool's first name, then its others, the newest first.
        """
        found = self.resolve(name, at)
        if found is None or name in named:
            return name
        others = [known.name for known in reversed(found.tool.names)]
        wanted = (candidate for candidate in (found.name, *others))
        return next((c for c in wanted if c in named), found.name)


def registry(tools: Iterable[Listed]) -> Registry:
    """Return the registry of one product's tools."""
    by_name: dict[str, list[tuple[Listed, Name | None]]] = {}
    for tool in tools:
        by_name.setdefault(tool.name, []).append((tool, None))
        for known in tool.names:
            by_name.setdefault(known.name, []).append((tool, known))
    return Registry({name: tuple(found) for name, found in by_name.items()})


NO_TOOLS = Registry({})
