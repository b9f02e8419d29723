"""Signs that people type beside numbers: of the form's own currency, and of percent.

Only the own sign is taken off. Another currency's stays with the number, which is then
told to be none: €0.85 in a plan in dollars is not $0.85.
"""

from __future__ import annotations

import re

from django.http import QueryDict

from portal.composer.models import MODELS
from portal.composer.numbers import without_percent, without_sign

_PERCENT = ("percent", "share")
_PRICE_BOX = re.compile(r"c[0-9]{1,6}(-o)*-(?P<name>.+)", re.ASCII)
# Words, not numbers: a charge may be called $5.
_WORDS = re.compile(r".*(name|unit|values|property|key|json)", re.ASCII)
_DISCOUNT = re.compile(r"(discount-[0-9]+)-value", re.ASCII)


def _percentages() -> frozenset[str]:
    """Return the boxes of a charge that hold percentages, without their row."""
    found = {"bound-discount_percent"}
    for form in MODELS.values():
        for param in form.params:
            if param.kind in (*_PERCENT, "rate"):
                found.add(param.name)
            found |= {
                f"{param.name}-{column.name}"
                for column in param.columns
                if column.kind in _PERCENT
            }
    return frozenset(found)


PERCENTAGES = _percentages()


def unsigned(data: QueryDict, currency: str) -> QueryDict:
    """Return a posted form without the signs that belong to its numbers."""
    made = data.copy()
    for name, texts in data.lists():
        if _WORDS.fullmatch(name):
            continue
        own = name.split("-")[1] if name.startswith("cur-") else currency
        shown = [without_sign(text, own) for text in texts]
        if _is_percentage(data, name):
            shown = [without_percent(text) for text in shown]
        if shown != texts:
            made.setlist(name, shown)
    return made


def _is_percentage(data: QueryDict, name: str) -> bool:
    """Tell whether a box holds a percentage."""
    if found := _DISCOUNT.fullmatch(name):
        return data.get(f"{found[1]}-kind", "percent") == "percent"
    box = _PRICE_BOX.fullmatch(name)
    return box is not None and box["name"] in PERCENTAGES
