"""Forms of cost rates and of what-if questions about them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from aforo.lib import clock
from catalog.models import CostRate
from portal.tool_forms import PLAIN, instant

UNITS = (
    "input_uncached_tokens cache_read_tokens cache_write_tokens cache_write_5m_tokens"
    " cache_write_1h_tokens output_tokens input_audio_tokens output_audio_tokens"
    " input_image_tokens reasoning_tokens web_searches requests audio_seconds pages"
    " tool.call event.call vector_lookups storage_gb_hours"
).split()
PER = (("1", "one"), ("1000", "1,000"), ("1000000", "1,000,000"), ("3600", "3,600"))
SOURCES = (
    (CostRate.Source.CONTRACT, "Contract"),
    (CostRate.Source.MANUAL, "Entered by hand"),
    (CostRate.Source.INVOICE, "Provider's invoice"),
)


class RateForm(forms.Form):
    """What something costs from an instant on."""

    provider = forms.CharField(
        max_length=60,
        widget=forms.TextInput(PLAIN),
        help_text="Such as openai; tool for tools, event for other kinds of events.",
    )
    model = forms.CharField(
        max_length=120,
        label="Model, tool or event type",
        widget=forms.TextInput(PLAIN),
    )
    unit = forms.CharField(
        max_length=60,
        widget=forms.TextInput({**PLAIN, "list": "cost-units"}),
        help_text="What is paid for. Parts of the input are disjoint.",
    )
    amount = forms.DecimalField(label="Price", max_digits=26, min_value=Decimal(0))
    per = forms.ChoiceField(choices=PER, initial="1000000", label="Price of")
    currency = forms.CharField(
        max_length=3, initial="USD", widget=forms.TextInput(PLAIN)
    )
    source = forms.ChoiceField(
        choices=SOURCES,
        initial=CostRate.Source.MANUAL,
        help_text="A contract wins over what is entered by hand, that over an invoice,"
        " and all of them over the public price list.",
    )
    valid_from = instant(
        "Valid from (UTC)", "Empty: from now on. It may be in the past."
    )
    valid_to = instant("Valid to (UTC)", "Empty: until the next known change.")
    context = forms.CharField(
        max_length=40,
        required=False,
        label="Only for requests handled as",
        widget=forms.TextInput({**PLAIN, "placeholder": "batch, flex, priority, fast"}),
        help_text="Empty: those handled as usual.",
    )
    region = forms.CharField(
        max_length=40, required=False, widget=forms.TextInput(PLAIN)
    )
    above_tokens = forms.IntegerField(
        required=False,
        min_value=0,
        label="Only prompts of more tokens than",
        help_text="Then the price holds for all of their tokens.",
    )
    hours = forms.CharField(
        max_length=40,
        required=False,
        label="Only at these hours (UTC)",
        widget=forms.TextInput({**PLAIN, "placeholder": "mon-fri 01:00-04:00"}),
    )

    def values(self) -> dict[str, Any]:
        """Return what the service takes."""
        given = dict(self.cleaned_data)
        given["per"] = int(given["per"])
        given["above_tokens"] = given["above_tokens"] or 0
        given["valid_from"] = given["valid_from"] or clock.now()
        given["source"] = CostRate.Source(given["source"])
        given["region"] = given["region"].lower()
        parts = given["context"].lower().replace(" ", "").split("+")
        given["context"] = "+".join(sorted(part for part in parts if part))
        return given


class CloseForm(forms.Form):
    """When a rate ends."""

    at = instant("Ends at (UTC)", "Empty: now.")
