"""What every page's frame needs: navigation, theme, tenant, shortcuts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.utils.functional import SimpleLazyObject, cached_property

from aforo.core.models import Role, Tenant, User
from aforo.core.roles import RULES, SIMULATE, STAFF
from aforo.lib import clock
from guard import observing
from guard.models import ObserveOnly

THEME_COOKIE = "aforo_theme"


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the navigation."""

    label: str
    path: str
    icon: str
    key: str = ""  # The letter after g that jumps here; none when empty.
    roles: tuple[Role, ...] = STAFF  # Who finds it there.


@dataclass(frozen=True, slots=True)
class Shown:
    """A navigation entry as one page shows it."""

    label: str
    path: str
    icon: str
    key: str
    current: bool


NAVIGATION: tuple[tuple[str, tuple[Link, ...]], ...] = (
    ("", (Link("Home", "/", "house", "h"),)),
    (
        "Business",
        (
            Link("Customers", "/customers", "users", "c"),
            Link("Products", "/products", "package", "o"),
            Link("Plans", "/plans", "layers", "p"),
            Link("Metrics", "/metrics", "tag", "m"),
            Link("Spend levels", "/tiers", "arrow-up", "k"),
            Link("Invoices", "/invoices", "receipt-text", "i"),
            Link("Simulator", "/simulator", "gauge", "b", SIMULATE),
            Link("What if", "/analytics/migration", "refresh-cw", "w", SIMULATE),
        ),
    ),
    (
        "Traffic",
        (
            Link("Sessions", "/sessions", "list-tree", "s"),
            Link("Events", "/events", "activity", "e"),
            Link("Guard", "/guard", "shield", "g"),
            Link("Rules", "/guard/rules", "gauge", "q", RULES),
            Link("Alerts", "/alerts", "triangle-alert", "n"),
        ),
    ),
    (
        "Analytics",
        (
            Link("Usage", "/analytics/usage", "table-2", "u"),
            Link("Costs", "/analytics/cogs", "wallet", "v", SIMULATE),
            Link("Billed", "/analytics/billed", "receipt-text", "l"),
        ),
    ),
    (
        "Organisation",
        (
            Link("Model prices", "/settings/model-prices", "tag", "r"),
            Link("Team", "/settings/team", "user-plus", "t"),
            Link("Webhooks", "/webhooks", "link", "x"),
            Link("Audit", "/audit", "scroll-text", "a"),
            Link("API reference", "/docs/api", "book-open", "d"),
            Link("Admin", "/admin/", "shield"),
        ),
    ),
)


@lru_cache(maxsize=64)
def exists(path: str) -> bool:
    """Tell whether some view answers the path: navigation never leads nowhere."""
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def links(role: str) -> list[Link]:
    """Return the navigation's entries that lead the role somewhere."""
    return [
        item
        for _, group in NAVIGATION
        for item in group
        if role in item.roles and exists(item.path)
    ]


def _is_current(path: str, request_path: str) -> bool:
    if path == "/":
        return request_path == "/"
    return request_path == path or request_path.startswith(f"{path.rstrip('/')}/")


def theme(request: HttpRequest) -> str:
    """Return the theme: the person's own, or the browser's last choice."""
    user = getattr(request, "user", None)
    chosen = user.theme if isinstance(user, User) else request.COOKIES.get(THEME_COOKIE)
    return chosen if chosen in User.Theme.values else User.Theme.SYSTEM


def acting_tenant(request: HttpRequest) -> Tenant:
    """Return the tenant of a request that a role was checked for."""
    found: Tenant = request.tenant  # type: ignore[attr-defined]
    return found


class Shell:
    """The frame of one page; its parts are made when a template asks for them."""

    version = settings.VERSION

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        membership = getattr(request, "membership", None)
        self.role = "" if membership is None else str(membership.role)
        self.is_staff = self.role in STAFF
        self.theme = theme(request)

    @property
    def tenant(self) -> Tenant | None:
        """The tenant the page speaks for, for its staff only."""
        found: Tenant | None = getattr(self.request, "tenant", None)
        return found if self.is_staff else None

    @cached_property
    def observing(self) -> ObserveOnly | None:
        """The time in which the tenant's guard only observes, if it does now."""
        tenant = self.tenant
        return observing.current(tenant, clock.now()) if tenant else None

    @property
    def environment(self) -> str:
        """Which of the tenant's worlds this is."""
        return "Sandbox" if self.tenant and self.tenant.sandbox else "Live environment"

    @property
    def nav(self) -> list[dict[str, Any]]:
        """The navigation in its groups, the current entry marked."""
        if not self.is_staff:
            return []
        groups = []
        for label, entries in NAVIGATION:
            shown = [
                Shown(e.label, e.path, e.icon, e.key, _is_current(e.path, self.path))
                for e in entries
                if self.role in e.roles and exists(e.path)
            ]
            if shown:
                groups.append({"label": label, "items": shown})
        return groups

    @property
    def path(self) -> str:
        """The path of the page."""
        return self.request.path

    @property
    def jumps(self) -> list[Link]:
        """The entries that a letter after g jumps to."""
        return [link for link in links(self.role) if link.key]

    @property
    def shortcuts(self) -> bool:
        """Whether single-key shortcuts are on for the person."""
        user = getattr(self.request, "user", None)
        return bool(getattr(user, "shortcuts", False))

    @property
    def docs_path(self) -> str:
        """Where the API reference is, if it is served."""
        return "/docs/api" if exists("/docs/api") else ""


def shell(request: HttpRequest) -> dict[str, Any]:
    """Give templates the frame as `shell`."""
    return {"shell": SimpleLazyObject(lambda: Shell(request))}
