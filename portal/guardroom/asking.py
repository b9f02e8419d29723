"""Would this call pass? A dry run, and what it says, check by check."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q

from aforo.core.models import Tenant
from aforo.lib import ids, money
from aforo.lib.models import DECIMAL_PLACES, MAX_DIGITS
from billing.models import Agent, Credential, Customer
from catalog.models import Product
from guard import rehearsing, wording
from guard.engine.decision import Decision as Judged
from guard.engine.decision import Facts, Limit, Outcome, Reason
from guard.models import Decision
from portal.guardroom import limited

AMOUNT_MAX: Final = Decimal(2**52 // 1_000_000)
NO_ANSWER: Final = "Redis does not answer, so nothing can be asked of the edge now."


@dataclass(frozen=True, slots=True)
class Line:
    """One limit that was looked at."""

    code: str
    words: str
    used: str
    limit: str
    remaining: str
    resets: str
    result: str  # ok, warn, throttle, block, or observed


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as it is explained."""

    state: str
    code: str
    sentence: str  # The same words as in the answer to the caller.
    lines: list[Line]
    currency: str
    estimate: Decimal
    defaulted: bool = False


def _line(judged: Judged, limit: Limit, currency: str) -> Line:
    result = "ok"
    code = judged.reason or judged.would_reason
    if limit is _binding(judged):
        word = judged.outcome if judged.reason else judged.would
        result = "throttle" if word == Outcome.THROTTLE else "block"
        result = "observed" if code == judged.would_reason else result
    elif limit is judged.nearly:
        result = "warn"
    name = wording.reason_words(limit.name)
    if limit.name == Reason.QUOTA_PERIOD:
        name = f"{limit.unit.replace('_', ' ')} {name}"
    return Line(
        limit.name,
        name,
        wording.amount(limit, limit.used, currency),
        wording.amount(limit, limit.limit, currency),
        wording.amount(limit, limit.remaining, currency),
        limited.resets_in(limit, judged.now_ms),
        result,
    )


def _binding(judged: Judged) -> Limit | None:
    """Return the limit that bound the call, or would have."""
    if judged.would_reason is None:
        return judged.binding
    return next((x for x in judged.limits if x.name == judged.would_reason), None)


def told(judged: Judged, currency: str) -> Told:
    """Return a decision explained."""
    state, code = judged.outcome.value, str(judged.reason or "")
    text = "The call passes: every limit has room for it."
    if judged.would_reason is not None:
        state, code = "observed", judged.would_reason.value
        name = wording.reason_words(code)
        text = f"The call passes, because the guard only observes. Else: {name}."
    elif judged.reason is not None:
        text = wording.sentence(judged)
    elif judged.nearly is not None:
        state, code = "warn", judged.nearly.name
        used = limited.figures(judged.nearly, currency)
        text = f"The call passes. {used} used: past the warn line."
    return Told(
        state,
        code,
        text[:1].upper() + text[1:],
        [_line(judged, limit, currency) for limit in judged.limits],
        currency,
        Decimal(judged.estimate_micros).scaleb(-6),
        judged.estimate_defaulted,
    )


def of_stored(row: Decision, currency: str) -> Told:
    """Return a stored decision explained, in the words that its caller met."""
    reason = Reason(row.reason_code) if row.reason_code in list(Reason) else None
    would = row.inputs.get("would")
    plain = row.observed or row.warned
    facts = Facts("", "", "", "", "", "", currency, "", "", 0, 0)
    judged = Judged(
        outcome=Outcome(row.decision),
        reason=None if plain else reason,
        decision_id=row.public_id,
        now_ms=int(row.decided_at.timestamp() * 1000),
        facts=facts,
        limits=tuple(
            Limit(
                one["name"],
                one["unit"],
                one["limit"],
                one["used"],
                one.get("reset_at_ms", 0),
            )
            for one in row.checks
        ),
        estimate_micros=int(row.inputs.get("estimate_micros", 0)),
        degraded=row.degraded,
        would=Outcome(would) if would else None,
        would_reason=reason if row.observed else None,
    )
    return told(judged, currency)


def again(tenant: Tenant, row: Decision, customer: Customer) -> Told | None:
    """Ask a stored decision's question again; None: the edge cannot be asked."""
    digest = ""
    if row.credential_id:
        held = Credential.objects.filter(pk=row.credential_id)
        digest = held.values_list("digest", flat=True).first() or ""
    question = rehearsing.again(row, customer.tag, tenant.public_id, digest=digest)
    judged = rehearsing.ask_one(question, customer.pk)
    return told(judged, customer.currency) if judged else None


def _find(model: Any, prefix: str, text: str, **where: Any) -> Any:
    """Return the row of an id, ours or theirs, or of an exact name; None if none."""
    own = ids.parse_public(prefix, text) or uuid.UUID(int=0)
    named = Q(name__iexact=text)
    outside = Q(code=text) if model is Product else Q(external_id=text)
    rows = model.objects.filter(**where).filter(Q(pk=own) | outside | named)
    return rows.order_by("pk").first()


class AskForm(forms.Form):
    """A call that somebody thinks of."""

    customer = forms.CharField(
        max_length=255, help_text="Name, your id or ours (cus_…)."
    )
    agent = forms.CharField(max_length=255, required=False)
    product = forms.CharField(
        max_length=255,
        required=False,
        help_text="Needed where the customer has several.",
    )
    amount = forms.DecimalField(
        label="Estimated cost",
        required=False,
        min_value=Decimal(0),
        max_value=AMOUNT_MAX,
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        widget=forms.TextInput({"inputmode": "decimal", "autocomplete": "off"}),
        help_text="Empty: the plan's default estimate.",
    )
    tokens = forms.IntegerField(required=False, min_value=0, max_value=2**52)

    def clean(self) -> dict[str, Any]:
        """Find whom is meant; what is not found is said next to its box."""
        given: dict[str, Any] = super().clean() or {}
        customer = self._found(given, "customer", Customer, "cus")
        if customer is not None and given.get("agent"):
            self._found(given, "agent", Agent, "agt", customer=customer)
        if given.get("product"):
            self._found(given, "product", Product, "prd")
        return given

    def _found(
        self, given: dict[str, Any], name: str, model: Any, prefix: str, **where: Any
    ) -> Any:
        text = given.get(name)
        if not text or "\x00" in text:
            return None
        row = _find(model, prefix, text, **where)
        if row is None:
            of = f" of {where['customer']}" if where else ""
            self.add_error(name, ValidationError(f"There is no {name} “{text}”{of}."))
        given[name] = row
        return row


def answer(tenant: Tenant, form: AskForm) -> Told | str:
    """Return what a check would answer to the form's call, or why nobody knows."""
    given = form.cleaned_data
    customer: Customer = given["customer"]
    agent, product = given["agent"] or None, given["product"] or None
    amount = given["amount"]
    question = rehearsing.question(
        customer.tag,
        tenant.public_id,
        customer=customer.public_id,
        agent=agent.public_id if agent else "",
        product=product.public_id if product else "",
        amount_micros=None if amount is None else money.micros_up(amount),
        tokens=given["tokens"],
    )
    judged = rehearsing.ask_one(question, customer.pk)
    return NO_ANSWER if judged is None else told(judged, customer.currency)
