"""What is sold and what is counted: products and metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib.errors import AforoError
from catalog.checks import apply_changes, check_fields
from catalog.models import Metric, Product, ProductType

_CODE = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
# As in plan JSON, so that every metric can be named there.
_METRIC_CODE = re.compile(r"[a-z][a-z0-9_-]{0,59}", re.ASCII)


# What may change of a product once it is made.
PRODUCT_CHANGES = frozenset(
    """name description features self_reporting session_idle_s session_expire_s
    implicit_sessions max_call_s""".split()
)


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

    Raises AforoError 422 `invalid_code`, `invalid_value` or `already_exists`.
    """
    check_code(code)
    product = Product(
        tenant=tenant,
        name=name,
        code=code,
        type=type,
        description=description,
        features=list(features),
        self_reporting=self_reporting,
    )
    check_fields(product)
    try:
        with transaction.atomic():
            product.save(force_insert=True)
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
def update_product(
    *, product: Product, changes: Mapping[str, Any], actor: User | None
) -> Product:
    """Change what may be changed of a product: all but its code and its type.

    `changes` holds fields of PRODUCT_CHANGES. Raises AforoError 422 `immutable_field`
    or `invalid_value`.
    """
    product = Product.objects.select_for_update().get(pk=product.pk)
    before = apply_changes(product, changes, PRODUCT_CHANGES)
    if before:
        product.save(update_fields=list(before))
        audit.record(
            tenant=product.tenant_id,
            actor=actor,
            action="product.changed",
            target=product,
            changes={n: [old, getattr(product, n)] for n, old in before.items()},
        )
    return product


def check_metric_field(aggregation: str, field: str) -> None:
    """Refuse an aggregation without anything to aggregate.

    Raises AforoError 422 `field_required`.
    """
    if not field and aggregation != Metric.Aggregation.COUNT:
        raise AforoError(
            "field_required",
            422,
            "Say which measurement or property is aggregated.",
            field="field",
        )


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
    window: Metric.Window = Metric.Window.PERIOD,
    description: str = "",
    integer_only: bool = False,
) -> Metric:
    """Define what is counted.

    `field` names a measurement (for distinct values a property; `cogs` is our cost)
    and is empty for a count of events; `window` says what is aggregated and priced by
    itself. Raises AforoError 422 `invalid_code`,
    `field_required`, `invalid_value` or `already_exists`.
    """
    if not _METRIC_CODE.fullmatch(code):
        detail = "A code is small letters, digits, _ and -, beginning with a letter."
        raise AforoError("invalid_code", 422, detail, field="code")
    check_metric_field(aggregation, field)
    metric = Metric(
        tenant=tenant,
        code=code,
        name=name,
        description=description,
        aggregation=aggregation,
        field=field,
        event_types=list(event_types),
        window=window,
        unit=unit,
        integer_only=integer_only,
    )
    check_fields(metric)
    try:
        with transaction.atomic():
            metric.save(force_insert=True)
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
