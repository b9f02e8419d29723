"""The gallery of parts, for those who build pages."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from aforo.core.roles import staff_required
from portal.ui import states

# A fixed hour, so that two looks at the gallery show the same page.
NOON = dt.datetime(2026, 3, 14, 12, 0, 11, 104000, tzinfo=dt.UTC)


class SampleForm(forms.Form):
    """One field of each kind, with a problem in one of them."""

    name = forms.CharField(help_text="Printed on invoices.")
    price = forms.CharField(widget=forms.TextInput({"inputmode": "decimal"}))
    kind = forms.ChoiceField(choices=[("api", "Standard API"), ("mcp", "MCP server")])
    note = forms.CharField(widget=forms.Textarea({"rows": 3}), required=False)
    agree = forms.BooleanField(label="Send a copy by e-mail", required=False)

    def clean_price(self) -> str:
        """Refuse every price, to show how a refusal looks."""
        raise forms.ValidationError("Price needs at most 12 decimals; you entered 14.")


def _days() -> list[dict[str, Any]]:
    """Return two weeks of revenue as chart rows."""
    amounts = [41, 38, 44, 52, 49, 31, 28, 55, 61, 58, 63, 70, 44, 67]
    return [
        {
            "label": f"{day} Mar",
            "value": Decimal(value),
            "text": f"${value}.00",
        }
        for day, value in enumerate(amounts, start=1)
    ]


def _parts() -> list[dict[str, Any]]:
    """Return the parts of a cost as chart rows."""
    return [
        {"label": "Output tokens", "value": Decimal("212.40"), "text": "$212.40"},
        {"label": "Input tokens", "value": Decimal("98.10"), "text": "$98.10"},
        {"label": "Tool calls", "value": Decimal("61.50"), "text": "$61.50"},
        {"label": "Cache reads", "value": Decimal("12.00"), "text": "$12.00"},
    ]


def _story() -> list[dict[str, Any]]:
    """Return a timeline with each tone."""
    minute = dt.timedelta(minutes=1)
    return [
        {
            "at": NOON,
            "text": "Sandbox-C throttled by margin guard",
            "icon": "gauge",
            "tone": "warn",
            "note": "0.0 % below 10 %",
        },
        {
            "at": NOON - 288 * minute,
            "text": "Key rotated",
            "icon": "key-round",
            "note": "24 h grace",
        },
        {
            "at": NOON - 900 * minute,
            "text": "Period opened",
            "icon": "circle-check",
            "tone": "ok",
            "url": "/dev/ui",
        },
    ]


def sample() -> dict[str, Any]:
    """Return what the gallery shows: one value for each rule of display."""
    form = SampleForm({"name": "Acme", "price": "0.00000000000001", "kind": "api"})
    amounts = ["1020", "0.062871", "0.0000025", "0.0000000004", "0", "-1420.5"]
    return {
        "amounts": [Decimal(a) for a in amounts],
        "tiny": Decimal("0.0000025"),
        "big": Decimal("4210.35"),
        "cost": Decimal("1473.62"),
        "margin": Decimal("0.65"),
        "rise": Decimal("0.08"),
        "fall": Decimal("-0.012"),
        "used": Decimal("12.40"),
        "limit": Decimal("25"),
        "near": Decimal("22.10"),
        "noon": NOON,
        "start": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        "end": dt.datetime(2026, 4, 1, tzinfo=dt.UTC),
        "states": states.STATES,
        "form": form,
        "days": _days(),
        "course": [row["value"] for row in _days()],
        "parts": _parts(),
        "courses": [
            {
                "label": label,
                "values": [Decimal(v) for v in values],
                "text": str(sum(values)),
                "texts": [str(v) for v in values],
            }
            for label, values in (("gpt-4o", (5, 7, 6)), ("gpt-4o-mini", (2, 3, 5)))
        ],
        "course_days": ["1 Mar", "2 Mar", "3 Mar"],
        "story": _story(),
        "tabs": [
            {"label": "Overview", "url": "?tab=overview", "current": True},
            {"label": "Usage", "url": "?tab=usage"},
            {"label": "Invoices", "url": "?tab=invoices", "count": 12},
        ],
    }


@staff_required
def gallery(request: HttpRequest) -> HttpResponse:
    """Show every part in the theme of the reader."""
    return render(request, "portal/dev_ui.html", sample())
