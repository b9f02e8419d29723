"""The tools of products: list, name otherwise, rename, deprecate; each deed audited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from catalog.checks import check_fields
from catalog.models import Product, Tool, ToolName
from catalog.products import taken


def _lock(product: Product) -> None:
    """Let nobody else change the names of a product's tools meanwhile."""
    Product.objects.select_for_update(no_key=True).get(pk=product.pk)


def _check_free(product: Product, name: str, *, tool: Tool | None) -> None:
    """Refuse a name of another tool of the product, whenever it was valid.

    A name leads to one tool for ever, so an event resolves alike at any later time.
    """
    if Tool.objects.filter(product=product, name=name).exists():
        raise taken("name", name)
    other = ToolName.objects.filter(product=product, name=name)
    if tool is not None:
        other = other.exclude(tool=tool)
    found = other.select_related("tool").first()
    if found is not None:
        detail = f"{name} is a name of {found.tool}; a name leads to one tool for ever."
        raise AforoError("already_exists", 422, detail, field="name")


@transaction.atomic
def add_tool(
    *, product: Product, name: str, actor: User | None, aliases: Sequence[str] = ()
) -> Tool:
    """Register a tool of a product under its name, with others it has always had.

    Raises AforoError 422 `already_exists` or `invalid_value`.
    """
    _lock(product)
    _check_free(product, name, tool=None)
    tool = Tool(tenant_id=product.tenant_id, product=product, name=name)
    check_fields(tool)
    tool.save(force_insert=True)
    for alias in aliases:
        _add(tool, alias, ToolName.Kind.ALIAS)
    audit.record(
        tenant=product.tenant_id,
        actor=actor,
        action="tool.added",
        target=tool,
        changes={"product": [None, product.name], "aliases": [None, list(aliases)]},
    )
    return tool


def _add(
    tool: Tool,
    name: str,
    kind: ToolName.Kind,
    version: str = "",
    valid_from: dt.datetime | None = None,
    valid_to: dt.datetime | None = None,
) -> ToolName:
    """Give a tool another name over a time in which it has not got it already."""
    _check_free(tool.product, name, tool=tool)
    if valid_from and valid_to and valid_to <= valid_from:
        detail = "The end must be after the start."
        raise AforoError("invalid_value", 422, detail, field="valid_to")
    same = ToolName.objects.filter(tool=tool, name=name)
    if valid_from is not None:
        same = same.filter(Q(valid_to__gt=valid_from) | Q(valid_to=None))
    if valid_to is not None:
        same = same.filter(Q(valid_from__lt=valid_to) | Q(valid_from=None))
    if same.exists():
        detail = f"{tool} has the name {name} in that time already."
        raise AforoError("already_exists", 422, detail, field="name")
    row = ToolName(
        tenant_id=tool.tenant_id,
        tool=tool,
        product_id=tool.product_id,
        name=name,
        kind=kind,
        version=version,
        valid_from=valid_from,
        valid_to=valid_to,
    )
    check_fields(row)
    row.save(force_insert=True)
    return row


@transaction.atomic
def add_alias(
    *,
    tool: Tool,
    name: str,
    actor: User | None,
    version: str = "",
    valid_from: dt.datetime | None = None,
    valid_to: dt.datetime | None = None,
) -> ToolName:
    """Let another name, or a version, lead to a tool over a time (None: no end).

    Raises AforoError 422 `already_exists` or `invalid_value`.
    """
    _lock(tool.product)
    row = _add(tool, name, ToolName.Kind.ALIAS, version, valid_from, valid_to)
    audit.record(
        tenant=tool.tenant_id,
        actor=actor,
        action="tool.alias_added",
        target=tool,
        changes={"name": [None, name], "version": [None, version]},
    )
    return row


@transaction.atomic
def rename_tool(
    *, tool: Tool, name: str, actor: User | None, at: dt.datetime | None = None
) -> ToolName:
    """Call a tool otherwise from an instant on (None: now).

    Events may go on to use the old names, and the tool keeps its price and history:
    both go by the name it was registered under. Raises AforoError 422
    `already_exists` or `invalid_value`.
    """
    _lock(tool.product)
    since = at or clock.now()
    before = current_name(tool, list(tool.names.all()), since)
    row = _add(tool, name, ToolName.Kind.RENAME, valid_from=since)
    audit.record(
        tenant=tool.tenant_id,
        actor=actor,
        action="tool.renamed",
        target=tool,
        changes={"name": [before, name]},
    )
    return row


@transaction.atomic
def end_name(*, row: ToolName, actor: User | None) -> ToolName:
    """Let a name lead to its tool no longer, for events from now on.

    Raises AforoError 409 `already_ended`.
    """
    row = ToolName.objects.select_for_update().get(pk=row.pk)
    now = clock.now()
    if row.valid_to is not None:
        detail = f"{row} ends on {row.valid_to:%-d %b %Y, %H:%M} UTC already."
        raise AforoError("already_ended", 409, detail)
    if row.valid_from is not None and row.valid_from >= now:
        detail = f"{row} begins on {row.valid_from:%-d %b %Y, %H:%M} UTC; end it then."
        raise AforoError("not_begun", 409, detail)
    row.valid_to = now
    row.save(update_fields=["valid_to"])
    audit.record(
        tenant=row.tenant_id,
        actor=actor,
        action="tool.name_ended",
        target=row.tool,
        changes={row.name: ["in force", "ended"]},
    )
    return row


@transaction.atomic
def set_deprecated(*, tool: Tool, deprecated: bool, actor: User | None) -> Tool:
    """Flag a tool as deprecated from now on, or take the flag away; price unchanged."""
    tool = Tool.objects.select_for_update(of=("self",)).get(pk=tool.pk)
    if (tool.deprecated_at is not None) == deprecated:
        return tool
    tool.deprecated_at = clock.now() if deprecated else None
    tool.save(update_fields=["deprecated_at"])
    words = ["in use", "deprecated"]
    audit.record(
        tenant=tool.tenant_id,
        actor=actor,
        action="tool.deprecated" if deprecated else "tool.restored",
        target=tool,
        changes={"state": words if deprecated else words[::-1]},
    )
    return tool


def current_name(tool: Tool, names: Sequence[ToolName], at: dt.datetime) -> str:
    """Return what a tool is called at an instant: by its last rename, if any."""
    renames = [
        n
        for n in names
        if n.kind == ToolName.Kind.RENAME
        and n.valid_from is not None
        and n.valid_from <= at
        and (n.valid_to is None or n.valid_to > at)
    ]
    newest = max(renames, key=lambda n: (n.valid_from, n.pk), default=None)
    return newest.name if newest else tool.name
