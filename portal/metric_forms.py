"""The form of a metric."""

from __future__ import annotations

from typing import Any

from django import forms

from catalog.models import Metric

# "new", "seen" and "preview" are addresses beside the metrics' own.
RESERVED = frozenset({"new", "seen", "preview"})
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
FIXED = "Fixed: a published plan version prices this metric."


class MetricForm(forms.Form):
    """What is counted, and how."""

    name = forms.CharField(max_length=120, help_text="As lists and plans show it.")
    code = forms.CharField(
        max_length=60,
        widget=forms.TextInput(PLAIN),
        help_text="Small letters, digits, _ and -. Plans name the metric by it.",
    )
    aggregation = forms.ChoiceField(choices=Metric.Aggregation.choices, initial="sum")
    field = forms.CharField(
        max_length=80,
        required=False,
        label="Measurement or property",
        widget=forms.TextInput({**PLAIN, "list": "fields-seen"}),
        help_text="A measurement such as input_tokens; for distinct values a property;"
        " cogs is our own cost. Empty: each event counts as one.",
    )
    window = forms.ChoiceField(
        choices=Metric.Window.choices,
        initial="period",
        required=False,
        label="Aggregated by",
        help_text="What is priced by itself: a period costs the sum of its days, hours"
        " (UTC), sessions or events.",
    )
    event_types = forms.CharField(
        max_length=1_000,
        required=False,
        label="Event types",
        widget=forms.TextInput({**PLAIN, "placeholder": "llm.completion, …"}),
        help_text="Separated by commas. Empty: every type.",
    )
    unit = forms.CharField(max_length=40, help_text="One of it, such as token.")
    integer_only = forms.BooleanField(
        required=False,
        label="Whole numbers only",
        help_text="Events with a fraction of it are refused.",
    )
    description = forms.CharField(
        required=False, max_length=1_000, widget=forms.Textarea({"rows": 2})
    )

    def __init__(self, *args: Any, fixed: frozenset[str], **kwargs: Any) -> None:
        """`fixed` fields are shown and cannot be changed."""
        super().__init__(*args, **kwargs)
        for name in fixed:
            self.fields[name].disabled = True
            self.fields[name].help_text = FIXED
        if "code" in fixed:
            self.fields["code"].help_text = "Fixed: plans name the metric by it."

    def clean_code(self) -> str:
        """Refuse a code that is an address of ours."""
        code: str = self.cleaned_data["code"]
        if code in RESERVED:
            raise forms.ValidationError(f"{code} is a page of its own; choose another.")
        return code

    def clean_window(self) -> str:
        """Return the window; left out, it is the period."""
        return self.cleaned_data["window"] or Metric.Window.PERIOD

    def clean_event_types(self) -> list[str]:
        """Return the types one by one."""
        return split(self.cleaned_data["event_types"])


def split(text: str) -> list[str]:
    """Return what commas separate, each once, in order."""
    return list(dict.fromkeys(part for p in text.split(",") if (part := p.strip())))


def shown(metric: Metric) -> dict[str, Any]:
    """Return a metric's values as the form shows them."""
    names = "name code aggregation field window unit integer_only description".split()
    values = {name: getattr(metric, name) for name in names}
    return {**values, "event_types": ", ".join(metric.event_types)}
