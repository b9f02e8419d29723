"""The form that saves a rule in shadow."""

from __future__ import annotations

from typing import Any

from django import forms

from aforo.lib.models import DECIMAL_PLACES, MAX_DIGITS
from portal.account_forms import DECIMAL_INPUT, REASON_HELP


class RuleForm(forms.Form):
    """A limit and why; a window also has seconds."""

    limit = forms.DecimalField(
        min_value=0,
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        widget=DECIMAL_INPUT,
    )
    seconds = forms.IntegerField(min_value=1, label="In seconds")
    reason = forms.CharField(max_length=300, required=False, help_text=REASON_HELP)

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if name not in ("loop.same_call", "loop.retries"):
            del self.fields["seconds"]
        self._is_money = name == "spend_cap"

    def clean_limit(self) -> Any:
        """Refuse a part of a call or token."""
        limit = self.cleaned_data["limit"]
        if not self._is_money and limit != limit.to_integral_value():
            raise forms.ValidationError("A whole number.")
        return limit
