"""Events that staff take back, after seeing what that does to the money."""

from __future__ import annotations

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from aforo.core.roles import OPERATE, role_required
from aforo.lib import ids
from aforo.lib.money import ZERO, display
from billing.models import BillingPeriod
from metering import voiding
from metering.models import EventVoid, UsageEvent
from metering.voiding import Voided
from portal.pages import person
from portal.views.actions import Deed, ask


class VoidForm(forms.Form):
    """Why an event is taken back."""

    reason = forms.CharField(
        label="Reason",
        max_length=voiding.REASON_MAX,
        help_text="Kept with the event and in the audit, for ever.",
    )


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def void(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask, with the effect on the money, and void the event."""
    key = ids.parse_public("evt", public_id)
    rows = UsageEvent.objects.select_related("customer")
    event = rows.filter(pk=key).first() if key else None
    if event is None:
        raise Http404(f"There is no event {public_id}.")
    back = f"/events/{public_id}"
    if EventVoid.objects.filter(event=event).exists():
        return redirect(back)
    form = VoidForm(request.POST or None)

    def act() -> str:
        assert event is not None
        reason = form.cleaned_data["reason"]
        done = voiding.void(event, reason=reason, actor=person(request))
        if not done.is_new:
            return "The event was void already; nothing changed."
        amount = display(done.void.amount, done.void.currency)
        return f"The event is void: {amount} for {event.customer.name}."

    text = () if request.method == "POST" else _effect(event, voiding.trial(event))
    deed = Deed(
        title="Void this event?",
        text=text,
        button="Void the event",
        back=back,
        crumbs=(("Events", "/events"), (event.event_id[:60], back)),
        danger=True,
    )
    return ask(request, deed, form, act)


def _effect(event: UsageEvent, found: Voided) -> list[str]:
    """Return what the void would do, in sentences."""
    name = event.customer.name
    stays = "The event stays stored, marked as void; it can be sent again only under"
    text = [f"{stays} another id. This cannot be undone."]
    if found.void.was != EventVoid.Was.RATED:
        return [f"{name} was charged nothing for it yet, and will not be.", *text]
    currency = found.void.currency
    first, *rest = found.entries
    amount = found.void.amount
    if amount < ZERO:
        told = [f"{name} will owe {display(-amount, currency)} less."]
    elif amount > ZERO:
        told = [
            f"{name} will owe {display(amount, currency)} more: without this event"
            " the others reach a dearer price."
        ]
    else:
        told = [f"What {name} owes does not change."]
    for entry in rest:
        told.append(
            f"Its own entry is reversed, {display(first.amount, currency)}; what the"
            f" other events cost changes by {display(entry.amount, currency)}."
        )
    if found.returned:
        told.append(f"{display(found.returned, currency)} go back to the wallet.")
    if first.billing_period_id != first.usage_period_id:
        period = BillingPeriod.objects.get(pk=first.usage_period_id)
        told.append(
            f"The invoice of {period.start_at:%B %Y} was issued and stays as it is; the"
            " next one carries the adjustment."
        )
    return [*told, *text]
