"""Events that staff take back, and when the sessions of a product end by themselves."""

from __future__ import annotations

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from aforo.core.roles import OPERATE, PRICING, role_required
from aforo.lib import ids
from aforo.lib.money import ZERO, display
from catalog import products
from catalog.models import Product
from metering import voiding
from metering.models import EventVoid, UsageEvent
from metering.voiding import Voided
from portal.correction_words import adjustments, owed, wallet_moves
from portal.pages import find, person, posted
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
    form = VoidForm(posted(request))

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
    told = [owed(name, found.void.amount, currency)]
    if found.void.amount > ZERO:
        told.append("Without this event the others reach a dearer price.")
    for entry in rest:
        told.append(
            f"Its own entry is reversed, {display(first.amount, currency)}; what the"
            f" other events cost changes by {display(entry.amount, currency)}."
        )
    if found.returned:
        told.append(wallet_moves(found.returned, currency))
    told += adjustments(found.entries)
    return [*told, *text]


class IntervalsForm(forms.Form):
    """After how many seconds without events a session is idle, and over."""

    session_idle_s = forms.IntegerField(
        label="Idle after (seconds)", min_value=1, max_value=86_400
    )
    session_expire_s = forms.IntegerField(
        label="Expired after (seconds)",
        min_value=1,
        max_value=2_592_000,
        help_text="Counted from the last event, too; longer than the first.",
    )
    implicit_sessions = forms.BooleanField(
        label="Calls that name no session get one",
        required=False,
        help_text="Of their credential: a pause as long as the first time above ends"
        " it. Plans with a price of a session then charge for it.",
    )

    def clean(self) -> dict[str, int]:
        """Refuse a session that would be over before it is idle."""
        given: dict[str, int] = super().clean() or {}
        idle, expire = given.get("session_idle_s"), given.get("session_expire_s")
        if idle and expire and expire <= idle:
            self.add_error("session_expire_s", "Longer than the time until it is idle.")
        return given


@role_required(*PRICING)
@require_http_methods(["GET", "POST"])
def intervals(request: HttpRequest, public_id: str) -> HttpResponse:
    """Change how the sessions of a product begin, become idle and expire."""
    product = find(Product.objects.all(), "prd", public_id)
    names = ("session_idle_s", "session_expire_s", "implicit_sessions")
    initial = {name: getattr(product, name) for name in names}
    form = IntervalsForm(posted(request), initial=initial)

    def act() -> str:
        products.update_product(
            product=product, changes=form.cleaned_data, actor=person(request)
        )
        return f"Sessions of {product} follow the new intervals."

    back = f"/products/{product.public_id}"
    deed = Deed(
        title=f"Session intervals of {product}",
        text=[
            "A session without events becomes idle, and then expires. An expired"
            " session is settled: what it used stays billed, and an event that comes"
            " later goes on with it.",
            "Usage that is stored already stays in the session it has.",
        ],
        button="Save intervals",
        back=back,
        crumbs=(("Products", "/products"), (product.name, back)),
    )
    return ask(request, deed, form, act)
