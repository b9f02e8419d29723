"""Find pages, customers, agents, plans, metrics, invoices and events by words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Q

from aforo.core.models import Tenant
from aforo.lib import ids
from billing.models import Agent, Customer, Invoice
from catalog.models import Metric, Plan
from metering.models import UsageEvent
from portal.context import exists, links

HITS_MAX = 6  # of each kind
QUERY_MAX = 200


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found."""

    label: str
    note: str
    path: str
    icon: str


@dataclass(frozen=True, slots=True)
class Group:
    """Things of one kind."""

    label: str
    hits: list[Hit]


def _pages(role: str, text: str) -> list[Hit]:
    """Return the pages whose name holds the text; all of them for no text."""
    return [
        Hit(link.label, link.path, link.path, link.icon)
        for link in links(role)
        if text.lower() in link.label.lower()
    ]


def _by_id(prefix: str, text: str) -> Q:
    """Return the condition that a row has this outside id."""
    found = ids.parse_public(prefix, text)
    return Q(pk=found) if found else Q(pk__in=[])


def _customers(tenant: Tenant, text: str) -> list[Hit]:
    """Return customers by name, their own id or ours."""
    asked = Q(name__icontains=text) | Q(external_id=text) | _by_id("cus", text)
    rows = Customer.objects.filter(asked, tenant=tenant).order_by("name")[:HITS_MAX]
    return [
        Hit(row.name, row.external_id, f"/customers/{row.public_id}", "users")
        for row in rows
    ]


def _agents(tenant: Tenant, text: str) -> list[Hit]:
    """Return apps and agents, each leading to its customer."""
    asked = Q(name__icontains=text) | Q(external_id=text) | _by_id("agt", text)
    rows = Agent.objects.filter(asked, tenant=tenant).select_related("customer")
    return [
        Hit(
            row.name,
            row.customer.name,
            f"/customers/{row.customer.public_id}",
            "bot",
        )
        for row in rows.order_by("name")[:HITS_MAX]
    ]


def _plans(tenant: Tenant, text: str) -> list[Hit]:
    """Return plans by name, code or id."""
    asked = Q(name__icontains=text) | Q(code=text) | _by_id("pln", text)
    rows = Plan.objects.filter(asked, tenant=tenant).select_related("product")
    return [
        Hit(row.name, row.product.name, f"/plans/{row.public_id}", "layers")
        for row in rows.order_by("name")[:HITS_MAX]
    ]


def _invoices(tenant: Tenant, text: str) -> list[Hit]:
    """Return invoices by number or id."""
    asked = Q(number__icontains=text) | _by_id("inv", text)
    rows = Invoice.objects.filter(asked, tenant=tenant).select_related("customer")
    return [
        Hit(
            row.number or "Draft",
            row.customer.name,
            f"/invoices/{row.public_id}",
            "receipt-text",
        )
        for row in rows.order_by("-pk")[:HITS_MAX]
    ]


def _metrics(tenant: Tenant, text: str) -> list[Hit]:
    """Return metrics by name, code or id."""
    asked = Q(name__icontains=text) | Q(code__icontains=text) | _by_id("met", text)
    rows = Metric.objects.filter(asked, tenant=tenant).order_by("code")[:HITS_MAX]
    return [Hit(row.name, row.code, f"/metrics/{row.code}", "gauge") for row in rows]


def _events(tenant: Tenant, text: str) -> list[Hit]:
    """Return events by their exact id, ours or the sender's.

    Only exact: an event table of millions is never searched through.
    """
    asked = Q(event_id=text) | _by_id("evt", text)
    rows = UsageEvent.objects.filter(asked, tenant=tenant)[:HITS_MAX]
    return [
        Hit(row.event_id, row.event_type, f"/events/{row.public_id}", "activity")
        for row in rows
    ]


KINDS: tuple[tuple[str, Callable[[Tenant, str], list[Hit]]], ...] = (
    ("Customers", _customers),
    ("Agents", _agents),
    ("Plans", _plans),
    ("Invoices", _invoices),
    ("Metrics", _metrics),
    ("Events", _events),
)


def find(tenant: Tenant, text: str, *, role: str) -> list[Group]:
    """Return what the text finds, in groups; only pages for an empty text.

    The role decides which pages there are for the person.
    """
    wanted = text.strip().replace("\x00", "")[:QUERY_MAX]
    found = [Group("Pages", _pages(role, wanted))]
    for label, search in KINDS if wanted else ():
        hits = [hit for hit in search(tenant, wanted) if exists(hit.path)]
        found.append(Group(label, hits))
    return [group for group in found if group.hits]
