"""A product's price list that anybody may read, and the switch that says so."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.models import Tenant
from aforo.core.roles import PRICING, role_required
from aforo.core.tenancy import enter
from aforo.lib import ids
from catalog.describe import describe
from catalog.level_words import LevelRow
from catalog.models import Metric, Plan, PlanVersion, Product
from catalog.plans import load_plans
from catalog.price_list import Price, levels, prices, public_json, with_units
from catalog.pricing import Plan as Priced
from catalog.pricing import in_currency
from catalog.products import show_prices
from catalog.term_words import Term, plan_terms
from portal.pages import find, person
from portal.views.actions import Deed, ask

MAX_AGE = 300  # Seconds that a published change may take to be seen.


@dataclass(frozen=True, slots=True)
class Offer:
    """One live plan as everybody may see it."""

    name: str
    code: str
    number: int
    published_at: dt.datetime | None
    currency: str
    prorate: bool
    summary: str
    prices: list[Price]
    levels: list[LevelRow]
    terms: list[Term]  # What holds for the plan as a whole.
    document: dict[str, Any]
    currencies: tuple[str, ...]  # That it is sold in, its own first.


@dataclass(frozen=True, slots=True)
class PriceList:
    """What is public of a product."""

    seller: str
    product: Product
    plans: list[Offer]


def _read(
    request: HttpRequest, tenant_id: str, code: str, currency: str = ""
) -> PriceList:
    """Return a public price list; 404 for what is not public, as for what is absent.

    Nobody has to be signed in: the database is told the seller of the address while
    this reads, and whoever asked afterwards.
    """
    key = ids.parse_public("ten", tenant_id)
    if key is None:
        raise Http404(f"There is no price list of {tenant_id}.")
    membership = getattr(request, "membership", None)
    enter(tenant_id=key)
    try:
        product = Product.objects.filter(
            tenant_id=key, code=code, public_prices=True, archived_at=None
        ).first()
        if product is None:
            raise Http404(f"There is no public price list of {code}.")
        offers = _offers(product, currency)
        return PriceList(Tenant.objects.get(pk=key).name, product, offers)
    finally:
        enter(
            tenant_id=membership.tenant_id if membership else None,
            user_id=request.user.pk,
        )


def _offers(product: Product, currency: str) -> list[Offer]:
    """Return the latest published version of every plan that is not archived.

    In a currency where it is sold in it, else in its own.
    """
    plans = Plan.objects.filter(product=product, archived_at=None)
    versions = PlanVersion.objects.filter(
        plan__in=plans, state=PlanVersion.State.PUBLISHED
    ).select_related("plan")
    latest = versions.order_by("plan_id", "-number").distinct("plan_id")
    live = sorted(latest, key=lambda v: (v.plan.name, v.plan_id))
    loaded = load_plans({v.pk for v in live})
    return [offer(version, loaded[version.pk].plan, currency) for version in live]


def offer(version: PlanVersion, plan: Priced, currency: str = "") -> Offer:
    """Return a version as a customer reads it, in its own currency unless another is.

    A currency that it is not sold in is its own.
    """
    metrics = Metric.objects.filter(tenant_id=version.tenant_id)
    plan = with_units(plan, dict(metrics.values_list("code", "unit")))
    code = currency if currency in plan.currencies else plan.currency
    shown = in_currency(plan, code)
    return Offer(
        name=version.plan.name,
        code=version.plan.code,
        number=version.number,
        published_at=version.published_at,
        currency=code,
        prorate=version.prorate,
        summary=describe(shown),
        prices=prices(shown),
        levels=levels(shown),
        terms=plan_terms(shown),
        document=public_json(plan),
        currencies=plan.currencies,
    )


def _document(found: PriceList) -> dict[str, Any]:
    """Return a price list as JSON."""
    return {
        "seller": found.seller,
        "product": {
            "name": found.product.name,
            "code": found.product.code,
            "type": found.product.type,
            "description": found.product.description,
        },
        "plans": [
            {
                "name": offer.name,
                "code": offer.code,
                "version": offer.number,
                "published_at": offer.published_at and offer.published_at.isoformat(),
                "summary": offer.summary,
                "prorate": offer.prorate,
                **offer.document,
            }
            for offer in found.plans
        ],
    }


def _unless_known(
    request: HttpRequest, body: str, answer: HttpResponse
) -> HttpResponse:
    """Return the answer with an ETag, or 304 to whoever has it already."""
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    answer["ETag"] = etag
    known = get_conditional_response(request, etag=etag, response=answer)
    return known if isinstance(known, HttpResponse) else answer


@cache_control(public=True, max_age=MAX_AGE)
@require_GET
def page(request: HttpRequest, tenant_id: str, code: str) -> HttpResponse:
    """Show a product's live plans to anybody."""
    currency = request.GET.get("currency", "")
    found = _read(request, tenant_id, code, currency)
    offered = sorted({name for offer in found.plans for name in offer.currencies})
    shown = {offer.currency for offer in found.plans}
    # Marked is what was asked for, else what all prices are in.
    marked = currency if currency in offered else ""
    if not marked and len(shown) == 1:
        (marked,) = shown
    context = {
        "currency": marked,
        "currencies": offered if len(offered) > 1 else [],
        "seller": found.seller,
        "product": found.product,
        "plans": found.plans,
        "json_url": reverse("price-list-json", args=[tenant_id, code]),
    }
    return render(request, "portal/price_list.html", context)


@cache_control(public=True, max_age=MAX_AGE)
@require_GET
def document(request: HttpRequest, tenant_id: str, code: str) -> HttpResponse:
    """Give a product's live plans to anybody's program."""
    found = _read(request, tenant_id, code)
    body = json.dumps(_document(found), indent=2, ensure_ascii=False)
    answer = HttpResponse(body, content_type="application/json")
    return _unless_known(request, body, answer)


def public_url(product: Product) -> str:
    """Return where a product's price list is, once it is public."""
    tenant = ids.public(Tenant.public_prefix, product.tenant_id)
    return reverse("price-list", args=[tenant, product.code])


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def switch(request: HttpRequest, public_id: str) -> HttpResponse:
    """Make a product's price list public, or take it back."""
    product = find(Product.objects.all(), "prd", public_id)
    public = not product.public_prices
    path = public_url(product)

    def act() -> str:
        show_prices(product=product, public=public, actor=person(request))
        return (
            f"Anybody can read the prices of {product} at {path}."
            if public
            else f"The price list of {product} is no longer public."
        )

    text = (
        f"Anybody who knows {path} can read the live version of every plan: names,"
        " prices, tiers and conditions. Costs, metrics, limits, drafts and customers"
        " are never on it."
        if public
        else f"{path} answers 404 from now on. Copies in caches last up to"
        f" {MAX_AGE // 60} minutes."
    )
    back = reverse("product", args=[product.public_id])
    deed = Deed(
        title=f"Show the prices of {product} to everybody?"
        if public
        else f"Hide the prices of {product}?",
        text=[text],
        button="Make public" if public else "Hide prices",
        back=back,
        crumbs=[("Products", "/products"), (product.name, back)],
    )
    return ask(request, deed, None, act)
