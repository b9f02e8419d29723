"""Forms of the control room's deeds."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms

from portal.account_forms import REASON_HELP, ReasonForm

SPANS = (
    ("15", "15 minutes"),
    ("60", "1 hour"),
    ("240", "4 hours"),
    ("1440", "1 day"),
    ("10080", "7 days"),
)


class SpanForm(forms.Form):
    """For how long, and why."""

    lasts = forms.ChoiceField(label="For", choices=SPANS, initial="60")
    reason = forms.CharField(max_length=300, required=False, help_text=REASON_HELP)

    def clean_lasts(self) -> dt.timedelta:
        """Return the time."""
        return dt.timedelta(minutes=int(self.cleaned_data["lasts"]))


class PanicForm(forms.Form):
    """The tenant's name, typed, and why."""

    typed = forms.CharField(max_length=255, label="Type the name to confirm")
    reason = forms.CharField(max_length=300, help_text=REASON_HELP)

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._name = name
        self.fields["typed"].widget.attrs["autocomplete"] = "off"
        self.fields["typed"].help_text = name

    def clean_typed(self) -> str:
        """Compare what was typed."""
        typed: str = self.cleaned_data["typed"]
        if typed.strip() != self._name:
            raise forms.ValidationError(f"Type {self._name} exactly as it stands.")
        return typed


__all__ = ["PanicForm", "ReasonForm", "SpanForm"]
