"""The sections below the charges: what each holds, in words, and whether it is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portal.composer.typed import Typed

# Of each section, in the order of the page: its title, what an empty one is for, and
# how the ids of its boxes begin.
SECTIONS = (
    (
        "commitment",
        "Commitment & minimum",
        "what a period costs at least and at most",
        ("plan-",),
    ),
    (
        "discounts",
        "Discounts",
        "off charges or off everything, perhaps for some months",
        ("discount-",),
    ),
    (
        "levels",
        "Spend levels",
        "prices that change with what was spent",
        ("level-",),
    ),
    (
        "currencies",
        "Other currencies",
        "sold in one currency alone",
        ("cur-", "currencies-", "currency-", "currency_new"),
    ),
    ("period", "Period and currency", "", ("currency", "prorate")),
    (
        "limits",
        "Limits",
        "what the guard keeps by default",
        (
            "requests_per_minute",
            "tokens_per_minute",
            "spend_cap",
            "quota",
            "margin_",
            "throttle_model",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Fold:
    """One section that opens and closes."""

    name: str
    title: str
    note: str
    is_open: bool
    problem_count: int

    @property
    def id(self) -> str:
        """The id of its summary, which problems without a box link to."""
        return f"{self.name}-summary"

    @property
    def input(self) -> str:
        """The name of what a browser sends of its being open."""
        return f"fold-{self.name}"


def folds(
    typed: Typed, given: Mapping[str, str], problems: Iterable[str], focus: str
) -> dict[str, Fold]:
    """Return the sections: open as they were left, else where they hold something.

    `given` is what was posted; one with a problem or the focus is open anyway.
    """
    wrong = [_section(box) for box in problems]
    held = _held(typed)
    found = {}
    for name, title, empty, _ in SECTIONS:
        count = wrong.count(name)
        left = given.get(f"fold-{name}")
        is_open = bool(held[name]) if left is None else bool(left)
        if name == "period" and left is None:
            is_open = typed.prorate
        is_open = is_open or count > 0 or _section(focus) == name
        found[name] = Fold(name, title, held[name] or empty, is_open, count)
    return found


def _section(box: str) -> str:
    """Return the section that a box is in; empty for another place."""
    found = (
        (len(start), name)
        for name, _, _, starts in SECTIONS
        for start in starts
        if box.startswith(start)
    )
    return max(found, default=(0, ""))[1]


def _held(typed: Typed) -> dict[str, str]:
    """Return what each section holds, in a few words."""
    terms, limits = typed.terms, typed.limits
    bounds = (("at least", terms.minimum), ("at most", terms.maximum))
    listed = ("quotas", "shadow")
    caps = [n for n, value in limits.items() if n not in listed and value is not None]
    count = len(caps) + len(limits.get("quotas") or [])
    share = "by days" if typed.prorate else "in full"
    return {
        "commitment": ", ".join(
            f"{word} {text.strip()} {typed.currency}"
            for word, text in bounds
            if text.strip()
        ),
        "discounts": ", ".join(
            row.name.strip() or f"Discount {at + 1}"
            for at, row in enumerate(terms.discounts)
        ),
        "levels": ", ".join(
            level.name.strip() or f"Level {at + 1}"
            for at, level in enumerate(typed.levels)
        ),
        "currencies": ", ".join(typed.currencies),
        "period": f"{typed.currency}, fixed amounts {share}",
        "limits": f"{count} set" if count else "",
    }
