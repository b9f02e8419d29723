"""The form of an amendment: what of an event can be changed, as rows of boxes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django import forms
from django.forms import BoundField

from aforo.lib.errors import AforoError
from catalog.models import Product
from metering import canonical, restating, shapes, voiding
from metering.measurements import WHOLE
from metering.models import UsageEvent
from metering.restating import MODEL, TOOL, Said
from portal.pages import refuse

PLAIN = {"autocomplete": "off", "spellcheck": "false"}
SPARE = 3
NAME_MAX, VALUE_MAX = 255, shapes.PROPERTIES_BYTES_MAX
# Kinds of rows, and how many an event may have of each.
ROWS = {
    "measurement": shapes.MEASUREMENTS_MAX,
    "property": shapes.PROPERTIES_MAX,
}
# Where the ingest door's fields stand in the form.
PLACES = {
    "eventType": "event_type",
    "timestamp": "occurred_at",
    "productId": "product",
    "subscriptionId": "product",
    "properties.tool": "tool",
    "properties.model": "model",
    "apiKey": "occurred_at",
}
CREDENTIAL_OVER = "The event's credential had ended by this time."


class Row(NamedTuple):
    """The two boxes of one measurement or property."""

    name: BoundField
    value: BoundField


def time_text(at: dt.datetime) -> str:
    """Return an instant as its box has it: exact, in UTC."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


class AmendForm(forms.Form):
    """What an event should have said; `cleaned_data["said"]` is a restating.Said."""

    event_type = forms.CharField(
        label="Type", max_length=80, widget=forms.TextInput(PLAIN)
    )
    occurred_at = forms.CharField(
        label="Happened at",
        max_length=40,
        widget=forms.TextInput(PLAIN),
        help_text="With its offset, such as 2026-11-27T08:00:00Z for UTC.",
    )
    tool = forms.CharField(
        required=False,
        max_length=shapes.PROPERTY_LIMITS[TOOL],
        widget=forms.TextInput(PLAIN),
    )
    model = forms.CharField(
        required=False,
        max_length=shapes.PROPERTY_LIMITS[MODEL],
        widget=forms.TextInput(PLAIN),
    )
    product = forms.ModelChoiceField(
        required=False,
        queryset=Product.objects.none(),
        empty_label="Not named: found among the contracts",
    )
    reason = forms.CharField(
        label="Reason",
        max_length=voiding.REASON_MAX,
        help_text="Kept with both events and in the audit, for ever.",
    )

    def __init__(self, data: Any = None, *, event: UsageEvent) -> None:
        self.event = event
        self.was = restating.said(event)
        super().__init__(data, initial=self._initial())
        products = Product.objects.filter(tenant_id=event.tenant_id)
        box = self.fields["product"]
        assert isinstance(box, forms.ModelChoiceField)
        box.queryset = products.order_by("name")
        for kind, most in ROWS.items():
            for place in range(self._count(kind, most)):
                self._add_row(kind, place)

    def _initial(self) -> dict[str, Any]:
        """Return what the boxes have before anybody types."""
        was = self.was
        found: dict[str, Any] = {
            "event_type": was.event_type,
            "occurred_at": time_text(was.occurred_at),
            "tool": was.tool,
            "model": was.model,
            "product": was.product_id,
        }
        for kind, pairs in self._pairs(was).items():
            for place, (name, text) in enumerate(sorted(pairs.items())):
                found[f"{kind}-{place}-name"] = name
                found[f"{kind}-{place}-value"] = text
        return found

    @staticmethod
    def _pairs(said: Said) -> dict[str, Mapping[str, str]]:
        """Return what is said in rows, by their kind."""
        return {"measurement": said.measurements, "property": said.properties}

    def _count(self, kind: str, most: int) -> int:
        """Return how many rows there are: some are always free, up to the most."""
        given = self.data if self.is_bound else self.initial
        last = -1
        while f"{kind}-{last + 1}-name" in given and last < most:
            last += 1
        is_free = self.is_bound and last >= 0 and not given[f"{kind}-{last}-name"]
        return min(last + 1 + (0 if is_free else SPARE), most)

    def _add_row(self, kind: str, place: int) -> None:
        """Add the boxes of a row, free ones too."""
        title = f"{kind.capitalize()} {place + 1}"
        for part, most in (("name", NAME_MAX), ("value", VALUE_MAX)):
            label, key = f"{title}, {part}", f"{kind}-{place}-{part}"
            # A text of several lines would lose them in a box of one.
            lines = "\n" in str(self.initial.get(key, ""))
            widget = forms.Textarea if lines else forms.TextInput
            css = {"class": "name-box"} if part == "name" else {}
            self.fields[key] = forms.CharField(
                required=False,
                max_length=most,
                label=label,
                strip=(kind, part) != ("property", "value"),
                widget=widget({**PLAIN, "aria-label": label, **css}),
            )

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the rows of a kind."""
        place = 0
        while f"{kind}-{place}-name" in self.fields:
            yield Row(self[f"{kind}-{place}-name"], self[f"{kind}-{place}-value"])
            place += 1

    def measurement_rows(self) -> list[Row]:
        """Return the rows of measurements."""
        return list(self.rows("measurement"))

    def property_rows(self) -> list[Row]:
        """Return the rows of properties."""
        return list(self.rows("property"))

    def clean_occurred_at(self) -> dt.datetime:
        """Return the instant."""
        text = self.cleaned_data["occurred_at"]
        try:
            return canonical.instant(text, "occurred_at")
        except AforoError as error:
            said = f"{error.detail[:1].upper()}{error.detail[1:]}."
            raise forms.ValidationError(said) from error

    def clean(self) -> dict[str, Any]:
        """Read the rows, and ask for something that differs."""
        given: dict[str, Any] = super().clean() or {}
        measured = self._read("measurement", given)
        described = self._read("property", given)
        if self.errors:
            return given
        product = given["product"]
        new = Said(
            given["event_type"],
            given["tool"],
            given["model"],
            given["occurred_at"],
            product.pk if product else None,
            measured,
            described,
        )
        if restating.is_same(new, self.was):
            self.add_error(None, "Nothing is changed yet: change what was wrong.")
        given["said"] = new
        return given

    def _read(self, kind: str, given: Mapping[str, Any]) -> dict[str, str]:
        """Return the rows of a kind; a row without a value is left out."""
        found: dict[str, str] = {}
        for place in range(len(list(self.rows(kind)))):
            at = f"{kind}-{place}"
            name, text = given.get(f"{at}-name", ""), given.get(f"{at}-value", "")
            if not text:
                continue
            try:
                found[self._name(kind, name, found)] = self._value(kind, name, text)
            except _WrongName as error:
                self.add_error(f"{at}-name", str(error))
            except AforoError as error:
                self.add_error(f"{at}-value", f"{error.detail}.")
        return found

    def _name(self, kind: str, name: str, found: Mapping[str, str]) -> str:
        """Return the name of a row; raises _WrongName."""
        if not name:
            raise _WrongName("Say what this is the value of.")
        if name in found:
            raise _WrongName(f"{name} comes twice: leave one of them empty.")
        if kind == "property" and name in (TOOL, MODEL):
            raise _WrongName(f"The {name} has a box of its own above.")
        return name

    def _value(self, kind: str, name: str, text: str) -> str:
        """Return a value in the form in which it is stored; raises AforoError."""
        if kind == "property":
            return text.replace("\r\n", "\n")
        number = canonical.quantity(text, name)
        if name in WHOLE:
            shapes.require_whole(number, name)
        return number

    def place(self, error: AforoError) -> None:
        """Put a refusal of the ingest door next to the box that it is about."""
        field = error.field or ""
        if field == "apiKey":
            error = AforoError(error.code, error.status, CREDENTIAL_OVER, field=field)
        place = PLACES.get(field, field)
        for kind, door in (("measurement", "measurements"), ("property", "properties")):
            for row in self.rows(kind):
                if field == f"{door}.{row.name.value()}":
                    place = row.value.name
        refuse(self, AforoError(error.code, error.status, error.detail, field=place))


class _WrongName(Exception):
    """Why the name of a row cannot be."""
