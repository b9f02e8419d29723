"""The composer: a plan's charges typed, simulated while typing, saved as a draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from aforo.core.models import Role
from aforo.core.roles import DRAFTING, PRICING, RoleNeeded, membership, role_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES
from catalog.models import Metric, Plan, PlanVersion, Product, UsageScenario
from catalog.plans import load_plans, newest_version, save_draft
from catalog.starters import missing_metrics, start_plan, starters
from portal.composer import conflict, shares, term_boxes
from portal.composer.acts import act
from portal.composer.as_of import AsOf
from portal.composer.bodies import from_body, own_body, to_body
from portal.composer.checking import Checked, box_of, check
from portal.composer.currencies import settle
from portal.composer.currencies import shown as shown_currencies
from portal.composer.effects import effects
from portal.composer.folds import folds
from portal.composer.meters import Meter
from portal.composer.models import MODELS
from portal.composer.posting import COUNTS, from_post, whole, without_nul
from portal.composer.profiles import Profile, profile
from portal.composer.shown import Shower
from portal.composer.simulation import Scenario, Simulation, simulate
from portal.composer.starting import StartForm, currencies
from portal.composer.typed import Typed, keys_of
from portal.context import acting_tenant, exists
from portal.pages import find, person, refuse
from portal.selectors import month_usage, unit_costs
from portal.selectors.seen import seen
from portal.views.price_lists import public_url

SAVES = ("save", "autosave", "overwrite")
NEW_METRIC = ("/metrics/new", "/metrics", "/admin/catalog/metric/add/")


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask what a new plan begins with; make it with a first draft."""
    tenant = acting_tenant(request)
    chosen = {"product": _product_of(request), "currency": tenant.currency}
    form = StartForm(tenant, request.POST or None, initial={"template": "", **chosen})
    missing: list[Any] = []
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        starter = starters().get(given["template"])
        try:
            missing = missing_metrics(tenant, starter) if starter else []
            if not missing or request.POST.get("metrics") == given["template"]:
                plan = start_plan(
                    product=given["product"],
                    name=given["name"],
                    code=given["code"],
                    currency=given["currency"],
                    starter=starter,
                    actor=person(request),
                )
                messages.success(request, f"{plan} was created with a first draft.")
                return redirect("plan-edit", plan.public_id)
        except AforoError as error:
            refuse(form, error)
            missing = []
    context = {
        "form": form,
        "starters": starters().values(),
        "template": form["template"].value() or "",
        "missing": missing,
        "has_products": Product.objects.filter(tenant=tenant).exists(),
    }
    status = 422 if form.errors else 200
    return render(request, "portal/composer_new.html", context, status=status)


def _product_of(request: HttpRequest) -> Any:
    """Return the product that the address names, to be chosen already."""
    code = request.GET.get("product", "")
    return (
        Product.objects.filter(tenant=acting_tenant(request), code=code)
        .values_list("pk", flat=True)
        .first()
    )


@dataclass(slots=True)
class Desk:
    """One plan on the composer's desk: what is stored, and what is typed."""

    request: HttpRequest
    plan: Plan
    newest: PlanVersion | None
    live: PlanVersion | None
    metrics: dict[str, Metric]
    typed: Typed
    revision: int  # Of the newest version that the form knows.
    role: str  # Of who types: it says whose boxes can be changed.

    @property
    def number(self) -> int:
        """The number of the version that is being written."""
        if self.newest is None:
            return 1
        is_draft = self.newest.state == PlanVersion.State.DRAFT
        return self.newest.number if is_draft else self.newest.number + 1


def desk_of(request: HttpRequest, public_id: str) -> Desk:
    """Return the plan with its newest version and the form as posted or stored."""
    request.POST = without_nul(request.POST)  # type: ignore[assignment]
    tenant = acting_tenant(request)
    plans = Plan.objects.select_related("product").filter(tenant=tenant)
    plan = find(plans, "pln", public_id)
    newest = newest_version(plan)
    published = PlanVersion.objects.filter(plan=plan, state="published")
    live = published.order_by("-number").first()
    stored = newest.limits if newest else {}
    role = membership(request).role
    if role == Role.FINANCE and not (newest and shares.has_recipe(newest.body)):
        raise RoleNeeded(PRICING)
    marks = role == Role.FINANCE and shares.is_only_markups(request.POST)
    if request.method == "POST" and newest is not None and marks:
        typed = shares.marked_form(request.POST, newest)
    elif request.method == "POST":
        boxes = (*COUNTS, "spend_cap", "quotas")
        kept = {name: value for name, value in stored.items() if name not in boxes}
        typed = from_post(request.POST, kept_limits=kept)
        if typed.currency not in CURRENCIES:
            typed.currency = newest.currency if newest else tenant.currency
        if role == Role.PRODUCT_MANAGER:
            _keep_markups(request, typed, newest, live)
    else:
        body = newest.body if newest else {"currency": tenant.currency, "charges": []}
        prorate = newest.prorate if newest else False
        typed = from_body(body, limits=stored, prorate=prorate)
    revision = newest.revision if newest else 0
    if request.method == "POST":
        revision = whole(request.POST.get("revision", ""), revision)
    metrics = {m.code: m for m in Metric.objects.filter(tenant=tenant)}
    return Desk(request, plan, newest, live, metrics, typed, revision, role)


def _keep_markups(
    request: HttpRequest,
    typed: Typed,
    newest: PlanVersion | None,
    live: PlanVersion | None,
) -> None:
    """Fill in the markups that a product manager's browser does not send."""
    bodies = [version.body for version in (newest, live) if version]
    shares.keep_markups(typed, request.POST.keys(), *bodies)


@role_required(*DRAFTING)
@never_cache
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show the form, change its structure, or keep what it says as the draft."""
    desk = desk_of(request, public_id)
    deed = request.POST.get("do", "save")
    if request.method == "GET":
        settle(desk.typed, own_body(desk.typed))
        return page_of(desk)
    if deed in SAVES:
        return _save(desk, deed)
    if desk.role == Role.FINANCE and not deed.startswith("show"):
        raise RoleNeeded(PRICING)
    if deed == "currency.add":
        deed = f"currency.{request.POST.get('currency_new', '')}.add"
    focus = act(desk.typed, deed)
    settle(desk.typed, own_body(desk.typed))
    if desk.role == Role.PRODUCT_MANAGER:
        _keep_markups(request, desk.typed, desk.newest, desk.live)
    return page_of(desk, focus=focus, quiet=True)


def _save(desk: Desk, deed: str) -> HttpResponse:
    """Keep the form as the draft; say who was first when somebody else saved."""
    request = desk.request
    expected = desk.revision
    if deed == "overwrite":
        expected = whole(request.POST.get("their_revision", ""), expected)
    try:
        desk.newest = save_draft(
            plan=desk.plan,
            body=_body(desk),
            limits=_limits(desk),
            prorate=desk.typed.prorate,
            actor=person(request),
            expected_revision=expected,
            by_itself=deed == "autosave",
        )
    except AforoError as error:
        if error.status == 403:
            return _not_theirs(desk, deed, error)
        found = conflict.compare(error.detail, desk.newest, desk.typed, desk.metrics)
        if deed == "autosave":
            context = {"desk": desk, "conflict": found}
            template = "portal/composer_saved.html"
            return render(request, template, context, status=error.status)
        return page_of(desk, conflict=found, status=error.status)
    desk.revision = desk.newest.revision
    if deed == "autosave":
        return render(request, "portal/composer_saved.html", {"desk": desk})
    checked = check(desk.typed, desk.metrics)
    if checked.problems:
        return page_of(desk, checked=checked, status=422)
    messages.success(request, f"{desk.newest} was saved as a draft.")
    return redirect("plan-edit", desk.plan.public_id)


def _body(desk: Desk) -> dict[str, Any]:
    """Return what is saved: of finance's form nothing but the markups."""
    if desk.role == Role.FINANCE:
        return shares.body_to_save(desk.typed, desk.newest)
    return to_body(desk.typed)


def _limits(desk: Desk) -> dict[str, Any]:
    """Return the limits that are saved; finance's form has no boxes of them."""
    if desk.role == Role.FINANCE and shares.is_only_markups(desk.request.POST):
        return dict(desk.newest.limits) if desk.newest else {}
    return conflict.limiting(desk.typed.limits)


def _not_theirs(desk: Desk, deed: str, error: AforoError) -> HttpResponse:
    """Say whose a change is that was not saved; what was typed stays on the page."""
    if deed == "autosave":
        context = {"desk": desk, "refused": error.detail}
        template = "portal/composer_saved.html"
        return render(desk.request, template, context, status=error.status)
    checked = check(desk.typed, desk.metrics)
    box = box_of(desk.typed, error.field or "")
    checked.problems = {box: error.detail, **checked.problems}
    checked.plan = None
    return page_of(desk, checked=checked, status=error.status)


@role_required(*DRAFTING)
@never_cache
@require_POST
def simulation(request: HttpRequest, public_id: str) -> HttpResponse:
    """Price the form as it is typed: problems always, figures when there are none."""
    desk = desk_of(request, public_id)
    checked = check(desk.typed, desk.metrics, patient=True)
    context = simulated(desk, checked)
    shown: Simulation | None = context["simulation"]
    posted = set(request.POST.getlist("meter"))
    context["oob"] = True
    context["effects"] = effects(desk.typed, shown)
    context["usage_changed"] = shown is not None and (
        {m.id for m in shown.meters} != posted
        or request.POST.get("customer", "") != request.POST.get("customer_was", "")
        or context["is_dated"] != ("as_of" in request.POST)
    )
    return render(request, "portal/composer_simulation.html", context)


def page_of(
    desk: Desk,
    *,
    checked: Checked | None = None,
    focus: str = "",
    quiet: bool = False,
    conflict: conflict.Conflict | None = None,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render the whole composer; `quiet` marks no box of a row just added."""
    checked = checked or check(desk.typed, desk.metrics, patient=True)
    context = simulated(desk, checked)
    names = seen(desk.plan.product)
    shower = Shower(
        desk.typed,
        {} if quiet else {**checked.problems, **context["usage_problems"]},
        desk.metrics.values(),
        fixed_keys=_published_keys(desk),
        focus=focus,
        notes=names.notes,
        effects=effects(desk.typed, context["simulation"]),
    )
    new_metric = next(path for path in NEW_METRIC if exists(path))
    context |= {
        "act_url": reverse("plan-edit", args=[desk.plan.public_id]),
        "charges": shower.charges(),
        "levels": shower.levels(),
        "figure_rows": shown_currencies(
            desk.typed, own_body(desk.typed), {} if quiet else checked.problems
        )
        if desk.typed.currencies
        else [],
        "folds": folds(desk.typed, desk.request.POST, shower.problems, focus),
        "limits": shower.limits(),
        "quotas": shower.quotas(),
        "terms": term_boxes.shown(desk.typed, shower.problems),
        "models": MODELS.values(),
        "currencies": currencies(),
        "currency_box": shower.currency(currencies()),
        "focus": focus,
        "seen": names.names,
        "conflict": conflict,
        "new_metric": new_metric,
        "can_publish": exists("/plans/pln_0/publish") and desk.role != Role.FINANCE,
        "has_page": exists("/plans/pln_0"),
        "public_url": public_url(desk.plan.product),
        "may_publish": desk.role != Role.FINANCE,
        "failed": status in (403, 422) and not more,
        **(more or {}),
    }
    return render(desk.request, "portal/composer.html", context, status=status)


def _published_keys(desk: Desk) -> frozenset[str]:
    """Return the keys of charges that were published: they never change."""
    if desk.live is None:
        return frozenset()
    return frozenset(str(row.get("key")) for row in desk.live.body.get("charges", ()))


def simulated(desk: Desk, checked: Checked) -> dict[str, Any]:
    """Return what the simulator and the list of problems show."""
    given = desk.request.POST
    span = month_usage.last_month(clock.now())
    offered = month_usage.offered(desk.plan.product)
    kept = list(UsageScenario.objects.filter(plan=desk.plan))
    chosen = profile(given, offered, kept)
    result = None
    month = AsOf(given.get("as_of", ""), span if chosen.customer else None)
    if checked.plan is not None:
        result = _simulate(desk, checked, chosen, month)
    keys = {key: uid for uid, key in keys_of(desk.typed.charges).items()}
    problems = {**result.problems, **month.problems} if result else {}
    return {
        "desk": desk,
        "plan": desk.plan,
        "simulation": result,
        "usage_problems": problems,
        "waiting": [charge.uid for charge in checked.waiting],
        "summary": [
            *checked.summary,
            *((box, text, text) for box, text in problems.items()),
        ],
        "findings": [
            (f"{keys[finding.charges[0]]}-summary", finding.message)
            for finding in (result.findings if result else ())
        ],
        "offered": offered,
        "scenarios": kept,
        "profile": chosen,
        "customer": chosen.customer,
        "span": span,
        "as_of": month,
        "is_dated": bool(
            checked.plan and checked.plan.is_dated and not chosen.customer
        ),
        "curve_meter": _curve_meter(result),
        "is_finance": desk.role == Role.FINANCE,
        "is_manager": desk.role == Role.PRODUCT_MANAGER,
        "not_yours": shares.REASONS.get(desk.role, ""),
    }


def _curve_meter(result: Simulation | None) -> Meter | None:
    """Return the quantity that the curve is over."""
    return result.curve.meter if result and result.curve else None


def _simulate(desk: Desk, checked: Checked, chosen: Profile, month: AsOf) -> Simulation:
    """Price the plan with what the simulator is asked."""
    assert checked.plan is not None
    live = None
    if desk.live is not None:
        (live,) = load_plans({desk.live.pk}).values()
    asked = Scenario(
        product=desk.plan.product,
        typed=chosen.typed,
        costs=unit_costs.blended(acting_tenant(desk.request), desk.typed.currency),
        customer=chosen.customer,
        month=month_usage.last_month(clock.now()),
        live=live,
        starts_on=month.starts_on,
    )
    return simulate(checked.plan, asked)
