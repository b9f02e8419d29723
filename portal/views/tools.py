"""Deeds on the tools of a product."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from aforo.core.roles import PRICING, role_required
from catalog import registry
from catalog.models import Product, Tool, ToolName
from portal.pages import find, person, posted
from portal.tool_forms import AddToolForm, AliasForm, RenameForm
from portal.views.actions import Deed, ask

METHODS = ["GET", "POST"]
KEPT = "Price and history stay: both go by the name that it was registered under."


def _url(product: Product) -> str:
    """Return the address of a product's tools."""
    return f"{reverse('product', args=[product.public_id])}?tab=tools"


def _crumbs(product: Product) -> list[tuple[str, str]]:
    return [("Products", "/products"), (product.name, _url(product))]


def _tool(public_id: str) -> Tool:
    """Return the tool behind an outside id, with its product."""
    return find(Tool.objects.select_related("product"), "tol", public_id)


@role_required(*PRICING)
@require_http_methods(METHODS)
def add(request: HttpRequest, public_id: str) -> HttpResponse:
    """Register a tool; `?name=` fills in what traffic showed."""
    product = find(Product.objects.all(), "prd", public_id)
    initial = {"name": request.GET.get("name", "")}
    form = AddToolForm(posted(request), initial=initial)

    def act() -> str:
        made = registry.add_tool(
            product=product, actor=person(request), **form.cleaned_data
        )
        return f"{made} is registered."

    deed = Deed(
        title=f"Register a tool of {product}",
        text=[
            "Events are priced without it, too: the registry joins the names of one"
            " tool. A name that a plan prices itself stays as it is."
        ],
        button="Register tool",
        back=_url(product),
        crumbs=_crumbs(product),
    )
    return ask(request, deed, form, act)


@role_required(*PRICING)
@require_http_methods(METHODS)
def alias(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let another name lead to a tool."""
    tool = _tool(public_id)
    form = AliasForm(posted(request))

    def act() -> str:
        made = registry.add_alias(tool=tool, actor=person(request), **form.cleaned_data)
        return f"{made} leads to {tool}."

    deed = Deed(
        title=f"Another name of {tool}",
        text=[
            f"Events that carry it at a time when it is valid count as {tool}, unless"
            " a plan prices the name itself. What was rated already stays as it is."
        ],
        button="Add name",
        back=_url(tool.product),
        crumbs=_crumbs(tool.product),
    )
    return ask(request, deed, form, act)


@role_required(*PRICING)
@require_http_methods(METHODS)
def rename(request: HttpRequest, public_id: str) -> HttpResponse:
    """Call a tool otherwise."""
    tool = _tool(public_id)
    form = RenameForm(posted(request))

    def act() -> str:
        made = registry.rename_tool(
            tool=tool, actor=person(request), **form.cleaned_data
        )
        return f"{tool} is called {made}."

    deed = Deed(
        title=f"Rename {tool}",
        text=["Events may carry the old names as well as the new one.", KEPT],
        button="Rename",
        back=_url(tool.product),
        crumbs=_crumbs(tool.product),
    )
    return ask(request, deed, form, act)


@role_required(*PRICING)
@require_http_methods(METHODS)
def deprecate(request: HttpRequest, public_id: str) -> HttpResponse:
    """Flag a tool as deprecated."""
    tool = _tool(public_id)

    def act() -> str:
        registry.set_deprecated(tool=tool, deprecated=True, actor=person(request))
        return f"{tool} is deprecated; its calls are priced as before."

    deed = Deed(
        title=f"Deprecate {tool}?",
        text=["Calls are still priced, and flagged on the product's page."],
        button="Deprecate",
        back=_url(tool.product),
        crumbs=_crumbs(tool.product),
    )
    return ask(request, deed, None, act)


@role_required(*PRICING)
@require_http_methods(METHODS)
def restore(request: HttpRequest, public_id: str) -> HttpResponse:
    """Take the flag of a deprecated tool away."""
    tool = _tool(public_id)

    def act() -> str:
        registry.set_deprecated(tool=tool, deprecated=False, actor=person(request))
        return f"{tool} is in use again."

    deed = Deed(
        title=f"Is {tool} in use again?",
        text=["The flag goes; prices never depended on it."],
        button="Restore",
        back=_url(tool.product),
        crumbs=_crumbs(tool.product),
    )
    return ask(request, deed, None, act)


@role_required(*PRICING)
@require_http_methods(METHODS)
def end_name(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let a name lead to its tool no longer."""
    found = ToolName.objects.select_related("tool__product")
    row = find(found, "tln", public_id)

    def act() -> str:
        registry.end_name(row=row, actor=person(request))
        return f"{row} leads to {row.tool} no longer."

    deed = Deed(
        title=f"End the name {row}?",
        text=[
            f"Events from now on that carry it no longer count as {row.tool}. Earlier"
            f" ones do, also when they arrive late. No other tool can have the name."
        ],
        button="End name",
        danger=True,
        back=_url(row.product),
        crumbs=_crumbs(row.product),
    )
    return ask(request, deed, None, act)
