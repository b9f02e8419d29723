"""Forms of a backfill: the file and why, and what is typed to confirm it."""

from __future__ import annotations

from typing import Any

from django import forms

from metering import voiding
from metering.backfill_files import BYTES_MAX


class BackfillForm(forms.Form):
    """Old usage as a file or pasted, and why it comes late.

    `cleaned_data` has `data` (bytes) and `name` beside what was given.
    """

    file = forms.FileField(
        required=False,
        label="File",
        widget=forms.FileInput({"accept": ".ndjson,.jsonl,.json,.csv,.txt"}),
        help_text="NDJSON (an event on each line), a JSON array, or CSV.",
    )
    text = forms.CharField(
        required=False,
        label="Or paste it",
        strip=False,
        widget=forms.Textarea({"rows": 10, "spellcheck": "false", "class": "mono"}),
        help_text="CSV names its columns in the first line: eventType, customerId,"
        " timestamp, eventId, measurements.input_tokens, properties.model …",
    )
    reason = forms.CharField(
        label="Reason",
        max_length=voiding.REASON_MAX,
        help_text="Why it comes late. Kept with the backfill and in the audit.",
    )

    def clean(self) -> dict[str, Any]:
        """Take the file or the text, exactly one of them."""
        given: dict[str, Any] = super().clean() or {}
        file, text = given.get("file"), given.get("text", "")
        if file and text.strip():
            self.add_error("text", "Give a file or paste its text, not both.")
        elif not file and not text.strip() and "file" not in self.errors:
            self.add_error("file", "Choose a file, or paste its text below.")
        elif file and file.size > BYTES_MAX:
            size = f"The file has {file.size:,} bytes; at most {BYTES_MAX:,}: split it."
            self.add_error("file", size)
        elif file:
            given["data"], given["name"] = file.read(), file.name
        else:
            given["data"] = text.replace("\r\n", "\n").encode()
            given["name"] = "Pasted text"
        return given


class ConfirmForm(forms.Form):
    """The number of events, typed: what follows cannot be undone."""

    typed = forms.CharField(
        label="Number of events to store",
        max_length=20,
        widget=forms.TextInput({"autocomplete": "off", "inputmode": "numeric"}),
    )
