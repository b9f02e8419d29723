"""What a saved view of the usage page says, and what of it is true no longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from aforo.lib import clock
from portal.ranges import spans
from portal.selectors import analytics
from portal.selectors.analytics import DIMENSIONS, NONE
from portal.ui.figures import period_text

# What an address of the page may say, in the order in which it is told.
WORDS = {
    "period": "Period",
    "from": "From",
    "to": "To",
    "by": "Break down by",
    "measure": "Show",
    "step": "Each bar",
    "chart": "As",
    "currency": "Currency",
}
KNOWN = (*WORDS, *DIMENSIONS)
# What of the address is the page's own and no filter.
OWN = ("view", "after", "before")


DATES = ("from", "to")
CUSTOM = "custom"


def clean(query: Mapping[str, str]) -> str:
    """Return the address of a view: what is known and says something, in order."""
    said = {name: query[name] for name in KNOWN if query.get(name)}
    return urlencode(_without_idle(said))


def _without_idle(said: Mapping[str, str]) -> dict[str, str]:
    """Return what an address says without dates beside another period.

    The form sends its dates with any period; the page heeds them only where the
    period is theirs, or where none is named.
    """
    idle = DATES if said.get("period", CUSTOM) != CUSTOM else ()
    return {name: text for name, text in said.items() if name not in idle}


@dataclass(frozen=True, slots=True)
class Read:
    """A stored address: what still holds, and what does not, in words."""

    kept: str
    told: list[tuple[str, str]]  # Label and value of what holds.
    lost: list[str]  # Each a sentence's part.


Names = Mapping[str, Mapping[str, str]]


def names(queries: Iterable[str]) -> Names:
    """Return what the filters of stored addresses name, as far as it is there.

    One statement for each of the dimensions that are rows: four at most.
    """
    wanted: dict[str, set[str]] = {}
    for query in queries:
        for name, text in parse_qsl(query):
            if name in DIMENSIONS and DIMENSIONS[name].of is not None:
                wanted.setdefault(name, set()).add(text)
    return {name: analytics.named(name, texts) for name, texts in wanted.items()}


def read(query: str, choices: Names, named: Names) -> Read:
    """Return what a stored address still says.

    `choices` are the values that a name may have, with their labels (period, by,
    measure …); a name that is not among them takes what is given. `named` is what
    names() found.
    """
    said = _without_idle(dict(parse_qsl(query)))
    kept: list[tuple[str, str]] = []
    told: list[tuple[str, str]] = []
    lost: list[str] = []
    own = {name: said.pop(name) for name in ("period", *DATES) if name in said}
    if set(own) & {*DATES} or own.get("period") == CUSTOM:
        _read_dates(own, kept, told, lost)
        own = {}
    for name, text in [*own.items(), *said.items()]:
        if name in DIMENSIONS:
            label = _label(name, text, named)
            word = DIMENSIONS[name].label
        else:
            word = WORDS.get(name, name)
            label = _choice(name, text, choices) if name in WORDS else None
        if label is None:
            lost.append(f"{word} {text}")
        else:
            kept.append((name, text))
            told.append((word, label))
    return Read(urlencode(kept), told, lost)


def _read_dates(
    own: Mapping[str, str],
    kept: list[tuple[str, str]],
    told: list[tuple[str, str]],
    lost: list[str],
) -> None:
    """Tell a first and a last day as one period, by the rule of the page."""
    period, span, _, _ = spans(own, clock.now())
    if period == CUSTOM:
        kept += own.items()
        told.append((WORDS["period"], period_text(span.start, span.end)))
    else:
        days = (f"{WORDS[n].lower()} {own[n]}" for n in DATES if n in own)
        lost.append(" ".join((WORDS["period"], *days)))


def _choice(name: str, text: str, choices: Names) -> str | None:
    """Return the label of a choice; None when it is none any more."""
    if name == "measure" and text.startswith("m:"):
        return text[2:]
    known = choices.get(name)
    return text if known is None else known.get(text)


def _label(name: str, text: str, named: Names) -> str | None:
    """Return what a filter names; None when there is no such thing any more.

    Models, providers, tools and types are only names: they cannot be gone.
    """
    dimension = DIMENSIONS[name]
    if analytics.condition(name, text) is None:
        return None
    if text == NONE:
        return dimension.nothing
    if dimension.of is None:
        return text
    return named.get(name, {}).get(text)
