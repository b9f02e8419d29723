"""Forms of deeds on a product's tools."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms

PLAIN = {"autocomplete": "off", "spellcheck": "false"}


def instant(label: str, help_text: str) -> forms.DateTimeField:
    """Return a field for an instant in UTC that may stay empty."""
    widget = forms.DateTimeInput(
        {"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"
    )
    return forms.DateTimeField(
        label=label, required=False, widget=widget, help_text=help_text
    )


class AddToolForm(forms.Form):
    """A tool by the name that it is known by for ever."""

    name = forms.CharField(
        max_length=120,
        widget=forms.TextInput(PLAIN),
        help_text="As events and plans name it. It is kept when the tool is renamed.",
    )
    aliases = forms.CharField(
        max_length=1_000,
        required=False,
        label="Also called",
        widget=forms.TextInput(PLAIN),
        help_text="Names that it has always had besides, separated by commas.",
    )

    def clean_aliases(self) -> list[str]:
        """Return the names one by one."""
        names = (name.strip() for name in self.cleaned_data["aliases"].split(","))
        return list(dict.fromkeys(name for name in names if name))


class AliasForm(forms.Form):
    """Another name of a tool, over a time."""

    name = forms.CharField(max_length=120, widget=forms.TextInput(PLAIN))
    version = forms.CharField(
        max_length=40, required=False, help_text="Of the tool under this name."
    )
    valid_from = instant("Valid from (UTC)", "Empty: since ever.")
    valid_to = instant("Valid to (UTC)", "Empty: until it is ended.")

    def clean(self) -> dict[str, Any]:
        """Refuse an end before the start."""
        given: dict[str, Any] = super().clean() or {}
        start: dt.datetime | None = given.get("valid_from")
        end: dt.datetime | None = given.get("valid_to")
        if start and end and end <= start:
            self.add_error("valid_to", "The end must be after the start.")
        return given


class RenameForm(forms.Form):
    """What a tool is called from an instant on."""

    name = forms.CharField(
        max_length=120, label="New name", widget=forms.TextInput(PLAIN)
    )
    at = instant("From (UTC)", "Empty: from now on.")
