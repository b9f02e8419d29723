"""The guard's rules: what is in force, what each did, shadow and enforcement."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import RULES, role_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing.models import Customer, Subscription
from catalog.limits import SHADOWED
from catalog.models import Plan
from catalog.plans import load_plans
from guard.facts import units_of
from guard.models import Decision
from guard.rules import QUOTAS
from portal import rule_changes
from portal.context import acting_tenant
from portal.pages import find, person, posted
from portal.rule_forms import RuleForm
from portal.selectors import rule_figures, rules
from portal.selectors.rules import Contract, Rule
from portal.views.actions import Deed, ask

RESTARTS = (
    "The contract gets a new version now: tiers and included quantities of the period"
    " start again, as with every change of a contract."
)
DRAFT = (
    "The limit is saved in the plan's draft. It holds for a contract once the version"
    " is published and the contract has moved to it."
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A rule, and where it is kept."""

    rule: Rule
    contracts: list[Contract]  # For which it holds.
    contract: Contract | None  # Whose it is; None: a plan's or a customer's.
    currency: str

    @property
    def url(self) -> str:
        """Return the rule's page."""
        return reverse("guard-rule", args=[self.rule.id])


def _absent(rule_id: str) -> Http404:
    return Http404(f"There is no rule {rule_id[:80]}.")


def _open(rule_id: str, now: dt.datetime) -> Opened:
    """Return a rule by its id, with its hits; Http404 for one that is not there."""
    owner, _, name = rule_id.partition(":")
    if owner.startswith("cus_") and name == rules.CUSTOMER_CAP:
        customer = find(Customer.objects.all(), "cus", owner)
        held = rules.contracts(now, customer=customer)
        rule = rules.of_customer(customer)
        opened = Opened(rule, held, None, customer.currency)
    elif name not in SHADOWED and not name.startswith(QUOTAS):
        raise _absent(rule_id)
    elif owner.startswith("sub_"):
        found = find(Subscription.objects.all(), "sub", owner)
        mine = rules.contracts(now, subscription=found)
        if not mine:
            raise _absent(rule_id)
        rule = rules.of_contract(mine[0], name)
        opened = Opened(rule, mine, mine[0], mine[0].currency)
    else:
        versions = rules.sold(plan=find(Plan.objects.all(), "pln", owner))
        if not versions:
            raise _absent(rule_id)
        (version,) = versions
        (priced,) = load_plans({version.pk}).values()
        rule = rules.of_plan(version, units_of(priced), name)
        held = [
            one
            for one in rules.contracts(now)
            if one.plan.pk == version.plan_id and not rules.is_own(one, name)
        ]
        opened = Opened(rule, held, None, version.currency)
    if opened.rule.limit is None and name.startswith(QUOTAS):
        raise _absent(rule_id)
    rules.count([opened.rule], {opened.rule.id: opened.contracts}, now)
    return opened


@role_required(*RULES)
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the rules in force."""
    found = rules.every(clock.now())
    shadow = [rule for rule in found if rule.is_shadow]
    plans = rules.sold()
    context = {
        "rules": found,
        "enforced": len(found) - len(shadow),
        "shadowed": len(shadow),
        "would": rules.would_words(shadow),
        "days": rules.DAYS,
        "tenant": acting_tenant(request),
        "no_loop": [
            (version, f"{version.plan.public_id}:loop.same_call")
            for version in plans
            if not version.limits.get("loop")
        ],
    }
    return render(request, "portal/rules.html", context)


def _days(rule: Rule, now: dt.datetime) -> list[dict[str, Any]]:
    """Return the hits of the last days as rows of a chart."""
    today = now.astimezone(dt.UTC).date()
    days = [today - dt.timedelta(days=n) for n in range(rules.DAYS, -1, -1)]
    return [
        {
            "label": f"{day:%-d %b}",
            "value": rule.hits.days.get(day, 0),
            "text": f"{rule.hits.days.get(day, 0):,}",
        }
        for day in days
    ]


@role_required(*RULES)
@require_GET
def page(request: HttpRequest, rule_id: str) -> HttpResponse:
    """Show one rule: what it did, what it would have done, a limit that would fit."""
    now = clock.now()
    opened = _open(rule_id, now)
    rule = opened.rule
    hits = rule.hits.stopped + rule.hits.shadowed
    kept = Decision.objects.filter(
        subscription_id__in=[c.snapshot.subscription_id for c in opened.contracts],
        decided_at__gte=now - dt.timedelta(days=rules.DAYS),
    )
    reason = rule.code.partition("|")[0]
    # The newest of them; a decision names every rule that it met.
    recent = [
        row
        for row in kept.order_by("-pk")[:200]
        if row.reason_code == reason or any(s["name"] == reason for s in row.shadow)
    ][:10]
    context = {
        "rule": rule,
        "contracts": opened.contracts[:50],
        "more_contracts": max(0, len(opened.contracts) - 50),
        "would": rules.would_words([rule]),
        "days": rules.DAYS,
        "chart": _days(rule, now),
        "finding": f"{hits:,} calls in the last {rules.DAYS} days"
        if hits
        else f"No call met the rule in the last {rules.DAYS} days",
        "suggested": rule_figures.suggest(rule, opened.contracts, now, opened.currency),
        "recent": recent,
        "is_plan": opened.contract is None,
        "may_change": rule.name != rules.CUSTOMER_CAP,
    }
    return render(request, "portal/rule.html", context)


def _save(request: HttpRequest, opened: Opened, wanted: rule_changes.Wanted) -> str:
    """Save the rule where it is kept; return what was done."""
    rule = opened.rule
    mode = "in shadow" if wanted.is_shadow else "enforced"
    if opened.contract is not None:
        rule_changes.save_in_contract(opened.contract, wanted)
        return f"{rule.label} of {rule.owner} is {mode} from now on."
    plan = find(Plan.objects.all(), "pln", rule.id.partition(":")[0])
    draft = rule_changes.save_in_draft(plan, wanted)
    return f"{rule.label} is {mode} in the draft {draft}: publish it to apply it."


def _changeable(rule_id: str) -> Opened:
    """Return a rule that these pages change; Http404 for a customer's cap."""
    opened = _open(rule_id, clock.now())
    if opened.rule.name == rules.CUSTOMER_CAP:
        raise _absent(rule_id)
    return opened


def _deed(opened: Opened, **more: Any) -> Deed:
    where = RESTARTS if opened.contract is not None else DRAFT
    return Deed(
        text=[*more.pop("text"), where],
        back=opened.url,
        crumbs=[("Rules", reverse("guard-rules")), (opened.rule.label, opened.url)],
        **more,
    )


@role_required(*RULES)
@require_http_methods(["GET", "POST"])
def shadow(request: HttpRequest, rule_id: str) -> HttpResponse:
    """Save a rule in shadow, with a limit."""
    opened = _changeable(rule_id)
    rule = opened.rule
    form = RuleForm(posted(request), name=rule.name, initial=_initial(opened))

    def act() -> str:
        given = form.cleaned_data
        limit = rule_changes.limit_from(rule.name, given)
        return _save(
            request,
            opened,
            rule_changes.Wanted(
                rule.name, limit, True, person(request), given["reason"]
            ),
        )

    text = [
        "The rule is judged with every check and refuses nothing; what it would have"
        " blocked is counted on its page."
    ]
    if rule.mode == "rule_enforce":
        text.append(f"Now it is enforced at {rule.words}; that ends.")
    deed = _deed(
        opened,
        title=f"{rule.label} of {rule.owner}: save as shadow",
        text=text,
        button="Save as shadow",
        danger=rule.mode == "rule_enforce",
    )
    return ask(request, deed, form, act)


def _initial(opened: Opened) -> dict[str, Any]:
    """Return what the form starts from: the limit in force, else one that would fit."""
    rule = opened.rule
    if isinstance(rule.limit, dict):
        return {"limit": rule.limit["count"], "seconds": rule.limit.get("seconds")}
    if rule.limit is not None:
        return {"limit": rule.limit}
    now = clock.now()
    found = rule_figures.suggest(rule, opened.contracts, now, opened.currency)
    return {"limit": found.limit, "seconds": found.seconds} if found else {}


@role_required(*RULES)
@require_http_methods(["GET", "POST"])
def enforce(request: HttpRequest, rule_id: str) -> HttpResponse:
    """Enforce a rule that is in shadow."""
    opened = _changeable(rule_id)
    rule = opened.rule
    if not rule.is_shadow or rule.limit is None:
        raise _absent(rule_id)

    def act() -> str:
        if not _open(rule_id, clock.now()).rule.is_shadow:
            raise AforoError("nothing_changes", 409, "The rule is enforced already.")
        wanted = rule_changes.Wanted(rule.name, rule.limit, False, person(request))
        return _save(request, opened, wanted)

    deed = _deed(
        opened,
        title=f"Enforce {rule.label} of {rule.owner}?",
        text=[
            f"From the next check on, calls beyond {rule.words} are refused with 429.",
            f"In shadow it {rules.would_words([rule])}.",
        ],
        button="Enforce",
        danger=True,
    )
    return ask(request, deed, None, act)
