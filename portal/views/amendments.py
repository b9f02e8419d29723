"""Events that staff put right: changed in a form, weighed, and then amended."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from aforo.core.roles import OPERATE, role_required
from aforo.lib import ids
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO, display
from billing.models import LedgerEntry
from catalog.models import Product
from metering import amending, restating
from metering.advice import advice
from metering.amending import Weighed
from metering.models import EventVoid, Unrateable, UsageEvent
from metering.restating import Said
from portal.amend_form import AmendForm, time_text
from portal.correction_words import adjustments, owed, wallet_moves
from portal.pages import person, posted
from portal.selectors.events import rows
from portal.selectors.sessions import with_effects

WORD = "amend"


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def amend(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask what an event should have said, show what that changes, and amend it.

    What is amended is what was seen: where its effect has become another meanwhile,
    nothing is done and the new effect is shown.
    """
    event = _found(public_id)
    if EventVoid.objects.filter(event=event).exists():
        return redirect("event", public_id)
    form = AmendForm(posted(request), event=event)
    context: dict[str, Any] = {"form": form, "event": event, "public_id": public_id}
    if form.is_bound and form.is_valid():
        try:
            weighed, more = _weighed(request, event, form)
        except AforoError as error:
            form.place(error)
        else:
            if weighed.is_kept:
                return _done(request, weighed, event)
            context |= more | _review(event, form.cleaned_data["said"], weighed)
    is_refused = form.errors or context.get("typed_problem") or context.get("stale")
    status = 422 if is_refused else 200
    return render(request, "portal/event_amend.html", context, status=status)


def _found(public_id: str) -> Any:
    """Return an event with its effects; foreign ones are 404 like absent ones."""
    key = ids.parse_public("evt", public_id)
    found = with_effects(UsageEvent.objects.filter(pk=key)) if key else None
    links = ("customer", "agent", "product", "credential")
    event = found.select_related(*links).first() if found is not None else None
    if event is None:
        raise Http404(f"There is no event {public_id}.")
    return event


def _weighed(
    request: HttpRequest, event: UsageEvent, form: AmendForm
) -> tuple[Weighed, dict[str, Any]]:
    """Amend where that is confirmed, else try; and what else the page has to say."""
    given, data = form.cleaned_data, request.POST
    is_wanted = data.get("do") == WORD
    is_typed = data.get("typed", "").strip().lower() == WORD
    weighed = amending.weigh(
        event,
        restating.prepare(event, given["said"]),
        reason=given["reason"],
        actor=person(request),
        seen=data.get("seen", "") if is_wanted and is_typed else "",
    )
    problem = f"Type {WORD} to go on." if is_wanted and not is_typed else ""
    stale = is_wanted and weighed.digest != data.get("seen", "")
    return weighed, {"typed_problem": "" if stale else problem, "stale": stale}


def _done(request: HttpRequest, weighed: Weighed, event: UsageEvent) -> HttpResponse:
    """Say what was done, and lead to the event that stands in the place."""
    said = [
        owed(event.customer.name, amount, currency)
        for currency, amount in _owed(weighed).items()
    ]
    messages.success(request, " ".join(["The event is amended.", *said]))
    return redirect("event", ids.public("evt", weighed.done.event.pk))


def _owed(weighed: Weighed) -> dict[str, Decimal]:
    """Return by how much what the customer owes changes, by currency."""
    found: dict[str, Decimal] = {}
    for entry in weighed.done.entries:
        found[entry.currency] = found.get(entry.currency, ZERO) + entry.amount
    return found


class Change(NamedTuple):
    """Something of the event that is said otherwise; empty: not said at all."""

    label: str
    was: str
    new: str


class Figure(NamedTuple):
    """A sum before and after, or why it is not known; None: not known."""

    label: str
    was: Decimal | None
    why_not_was: str
    new: Decimal | None
    why_not_new: str
    currency: str

    @property
    def change(self) -> Decimal | None:
        """By how much it changes."""
        if self.was is None or self.new is None:
            return None
        return self.new - self.was


def _review(event: Any, said: Said, weighed: Weighed) -> dict[str, Any]:
    """Return what the page shows of an effect."""
    done = weighed.done
    refused = done.item.refusal
    return {
        "weighed": weighed,
        "changes": _changes(restating.said(event), said),
        "drops_block": "usage" in event.body and not restating.keeps_block(event, said),
        "figures": _figures(event, weighed),
        "told": _told(event, weighed),
        "refused": refused,
        "refused_word": Unrateable.Reason(refused[0]).label if refused else "",
        "advice": advice(refused[0]) if refused else "",
        "word": WORD,
    }


def _changes(was: Said, new: Said) -> list[Change]:
    """Return what is said otherwise."""
    products = Product.objects.in_bulk(
        [k for k in (was.product_id, new.product_id) if k]
    )

    def name(key: Any) -> str:
        return str(products[key]) if key in products else ""

    pairs = [
        ("Type", was.event_type, new.event_type),
        ("Happened at", time_text(was.occurred_at), time_text(new.occurred_at)),
        ("Tool", was.tool, new.tool),
        ("Model", was.model, new.model),
        ("Product", name(was.product_id), name(new.product_id)),
        *_pairs(was.measurements, new.measurements),
        *_pairs(was.properties, new.properties),
    ]
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def _pairs(
    was: Mapping[str, str], new: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Return names with the text before and after."""
    return [(n, was.get(n, ""), new.get(n, "")) for n in sorted({*was, *new})]


def _figures(event: Any, weighed: Weighed) -> list[Figure]:
    """Return price and cost of the event before and after."""
    item = weighed.done.item
    (row,) = rows([event])
    currency = event.currency or item.currency
    same = currency == item.currency or item.refusal is not None
    price = None if item.refusal or not same else item.amount
    why = "without a price" if item.refusal else f"the new price is in {item.currency}"
    cost_currency = event.cost_currency or item.cost.currency
    same_cost = cost_currency == item.cost.currency
    return [
        Figure("Price", event.amount, row.why_no_price, price, why, currency),
        Figure(
            "Our cost (COGS)",
            event.cost,
            event.cost_unknown or "not costed yet",
            item.cost.amount if same_cost else None,
            item.cost.unknown or f"the new cost is in {item.cost.currency}",
            cost_currency,
        ),
    ]


def _told(event: Any, weighed: Weighed) -> list[str]:
    """Return what the amendment does to the customer's money, in sentences."""
    name = event.customer.name
    totals = _owed(weighed) or {event.currency or event.customer.currency: ZERO}
    told = [owed(name, amount, currency) for currency, amount in totals.items()]
    repriced: dict[str, Decimal] = {}
    for entry in weighed.done.entries:
        if entry.kind == LedgerEntry.Kind.REPRICE:
            change = repriced.get(entry.currency, ZERO) + entry.amount
            repriced[entry.currency] = change
    told += [
        f"Part of it: other events of the period cost"
        f" {display(abs(amount), currency)} {'more' if amount > ZERO else 'less'}."
        for currency, amount in repriced.items()
        if amount
    ]
    if unknown := weighed.done.item.cost.unknown:
        told.append(f"What the corrected event costs us is not known: {unknown}.")
    told += [
        wallet_moves(amount, currency) for currency, amount in weighed.wallets.items()
    ]
    return told + adjustments(weighed.done.entries)
