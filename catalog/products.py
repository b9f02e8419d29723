"""What is sold and what is counted: products, their tools, and metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib.errors import AforoError
from catalog.models import Metric, Product, ProductType, Tool

_CODE = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
# As in plan JSON, so that every metric can be named there.
_METRIC_CODE = re.compile(r"[a-z][a-z0-9_-]{0,59}", re.ASCII)


def check_code(code: str) -> None:
    """Refuse a code that events and addresses could not carry.

    Raises AforoError 422 `invalid_code`.
    """
    if not _CODE.fullmatch(code):
        detail = "A code is up to 60 letters, digits, _ and -."
        raise AforoError("invalid_code", 422, detail, field="code")


def taken(field: str, value: str) -> AforoError:
    """Return the refusal of a name or code that another row has."""
    return AforoError("already_exists", 422, f"{value} is taken.", field=field)


@transaction.atomic
def create_product(
    *,
    tenant: Tenant,
    name: str,
    code: str,
    type: ProductType,
    actor: User | None,
    description: str = "",
    features: Sequence[str] = (),
    self_reporting: bool = False,
) -> Product:
    """Add something to sell; its type fixes the kind of its credentials for ever.

    Raises AforoError 422 `invalid_code` or `already_exists`.
    """
    check_code(code)
    try:
        with transaction.atomic():
            product = Product.objects.create(
                tenant=tenant,
                name=name,
                code=code,
                type=type,
                description=description,
                features=list(features),
                self_reporting=self_reporting,
            )
    except IntegrityError as error:
        raise taken("code", code) from error
    audit.record(
        tenant=tenant,
        actor=actor,
        action="product.created",
        target=product,
        changes={"code": [None, code], "type": [None, product.type]},
    )
    return product


@transaction.atomic
def add_tool(
    *,
    product: Product,
    name: str,
    actor: User | None,
    aliases: Sequence[str] = (),
) -> Tool:
    """Register a tool of a product under its name, with the names it also has had.

    Raises AforoError 422 `already_exists`.
    """
    try:
        with transaction.atomic():
            tool = Tool.objects.create(
                tenant_id=product.tenant_id,
                product=product,
                name=name,
                aliases=list(aliases),
            )
    except IntegrityError as error:
        raise taken("name", name) from error
    audit.record(
        tenant=product.tenant_id,
        actor=actor,
        action="tool.added",
        target=tool,
        changes={"product": [None, product.name], "aliases": [None, list(aliases)]},
    )
    return tool


@transaction.atomic
def create_metric(
    *,
    tenant: Tenant,
    code: str,
    name: str,
    aggregation: Metric.Aggregation,
    unit: str,
    actor: User | None,
    field: str = "",
    event_types: Sequence[str] = (),
    description: str = "",
    integer_only: bool = False,
) -> Metric:
    """Define what is counted.

    `field` names a measurement (for distinct values a property; `cogs` is our cost)
    and is empty for a count of events. Raises AforoError 422 `invalid_code`,
    `field_required` or `already_exists`.
    """
    if not _METRIC_CODE.fullmatch(code):
        detail = "A code is small letters, digits, _ and -, beginning with a letter."
        raise AforoError("invalid_code", 422, detail, field="code")
    if not field and aggregation != Metric.Aggregation.COUNT:
        raise AforoError(
            "field_required",
            422,
            "Say which measurement or property is aggregated.",
            field="field",
        )
    try:
        with transaction.atomic():
            metric = Metric.objects.create(
                tenant=tenant,
                code=code,
                name=name,
                description=description,
                aggregation=aggregation,
                field=field,
                event_types=list(event_types),
                unit=unit,
                integer_only=integer_only,
            )
    except IntegrityError as error:
        raise taken("code", code) from error
    audit.record(
        tenant=tenant,
        actor=actor,
        action="metric.created",
        target=metric,
        changes={"aggregation": [None, aggregation], "field": [None, field]},
    )
    return metric


@transaction.atomic
def show_prices(*, product: Product, public: bool, actor: User | None) -> Product:
    """Let everybody read the prices of a product's live plans, or nobody any more.

    What it is already stays without an audit entry.
    """
    product = Product.objects.select_for_update().get(pk=product.pk)
    if product.public_prices == public:
        return product
    product.public_prices = public
    product.save(update_fields=["public_prices"])
    audit.record(
        tenant=product.tenant_id,
        actor=actor,
        action="product.prices_shown" if public else "product.prices_hidden",
        target=product,
        changes={"public_prices": [not public, public]},
    )
    return product
