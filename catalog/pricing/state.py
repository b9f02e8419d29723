"""What pricing remembers of a period, per charge: aggregates free of order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog.pricing.exact import ZERO, divide
from catalog.pricing.lines import Step, steps_from_json, steps_to_json
from catalog.pricing.plan import Aggregation


@dataclass(frozen=True, slots=True)
class Tally:
    """The aggregate of a charge that is priced by its quantity."""

    count: int  # Events counted.
    value: Decimal  # The sum (count, sum, avg), or the max, min or latest value.
    latest: tuple[datetime, str] | None = None  # Of the latest value: time, event id.
    seen: frozenset[str] = frozenset()  # Digests of the distinct values (unique).
    beyond: Decimal = ZERO  # Of outcomes: our cost beyond their budgets.


@dataclass(frozen=True, slots=True, order=True)
class First:
    """One of the earliest events, which may be free."""

    occurred_at: datetime
    event_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Fees:
    """The aggregate of a percentage that looks at every event."""

    first: tuple[First, ...]  # The free_events earliest events, in order.
    count: int  # The other events, all paid: how many …
    amount: Decimal  # … the sum of their money …
    raised: Decimal  # … what the minimum added to their fees …
    cut: Decimal  # … and what the maximum took off them (not negative).


Use = Mapping[str, Decimal]  # Quantities by what they are priced as, such as tool:x.


@dataclass(frozen=True, slots=True)
class Dims:
    """The aggregate of a charge by dimensions."""

    use: Use  # What is priced, without what session fees cover.
    penal: Use  # The part of it in closed sessions with too many errors.
    invocations: int  # Of tools, covered ones too: they decide volume prices.
    sessions: int


@dataclass(frozen=True, slots=True)
class SessionUse:
    """What one session used, kept under `group_key` beside its charge's Dims."""

    use: Use
    invocations: int
    failed: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Pieces:
    """What one correlation has of an outcome, kept under `group_key`."""

    counts: tuple[int, ...]  # Events of each requirement …
    first: tuple[datetime | None, ...]  # … and the time of the earliest.
    # Where the moment of completion decides: the earliest times that make it.
    times: tuple[tuple[datetime, ...], ...] = ()
    confirmed: tuple[datetime, ...] = ()  # When it was said to hold …
    reversed: tuple[datetime, ...] = ()  # … and when, not to.
    cost: Decimal = ZERO  # Of all events, where a budget limits it.


@dataclass(frozen=True, slots=True)
class Weighed:
    """The aggregate of a recipe: its units, and the meters underneath."""

    count: int  # Events that came to any units.
    units: Decimal  # With markup, rounding and minimum.
    raised: Decimal  # The units of them that only the minimum per event added.
    meters: Use  # Sums by measurement; under an empty text our cost.


@dataclass(frozen=True, slots=True)
class Windows:
    """The aggregate of a charge that prices each window by itself.

    What a single window counted is a Tally, kept under `group_key`; a window of one
    event needs none. The price of windows cannot be had from a sum of quantities, so
    it is kept as it was worked out, step by step.
    """

    count: int  # Events counted.
    windows: int  # Windows that have any.
    quantity: Decimal  # The sum of the windows' quantities.
    steps: tuple[Step, ...]  # The sum of their prices.


ChargeState = Tally | Fees | Dims | SessionUse | Pieces | Weighed | Windows
PlanState = Mapping[str, ChargeState]

NO_TALLY = Tally(0, ZERO)
NO_FEES = Fees((), 0, ZERO, ZERO, ZERO)
NO_DIMS = Dims({}, {}, 0, 0)
NO_WEIGHED = Weighed(0, ZERO, ZERO, {})
NO_WINDOWS = Windows(0, 0, ZERO, ())
NO_SESSION = SessionUse({}, 0, 0)


def group_key(charge_key: str, group: str) -> str:
    """Return where a group's part of the state is; no charge has such a key.

    A group is 32 hexadecimal digits: a session's id, or the digest of a correlation,
    day or hour.
    """
    return f"{charge_key}/{group}"


def quantity_of(aggregation: Aggregation, tally: Tally) -> Decimal:
    """Return the quantity that a charge prices."""
    if aggregation is Aggregation.AVG:
        return divide(tally.value, Decimal(tally.count)) if tally.count else ZERO
    if aggregation is Aggregation.UNIQUE:
        return Decimal(len(tally.seen))
    return tally.value


def group_of(key: str) -> tuple[str, str] | None:
    """Return the charge and the group of a key of `group_key`, else None."""
    charge_key, slash, group = key.partition("/")
    return (charge_key, group) if slash else None


def state_to_json(state: PlanState) -> dict[str, Any]:
    """Return the state as compact JSON with decimals as strings, in key order."""
    return {key: _charge_to_json(state[key]) for key in sorted(state)}


def _charge_to_json(state: ChargeState) -> dict[str, Any]:
    """Return one charge's state; what is empty is left out."""
    data: dict[str, Any]
    if isinstance(state, Dims):
        data = {"i": state.invocations, "s": state.sessions, "u": _use(state.use)}
        return data | ({"pen": _use(state.penal)} if state.penal else {})
    if isinstance(state, SessionUse):
        data = {"i": state.invocations, "f": state.failed, "u": _use(state.use)}
        return data | ({"closed": True} if state.closed else {})
    if isinstance(state, Pieces):
        return _pieces(state)
    if isinstance(state, Weighed):
        data = {"n": state.count, "q": plain(state.units)}
        data |= {"raised": plain(state.raised)} if state.raised else {}
        return data | {"weighed": _use(state.meters)}
    if isinstance(state, Windows):
        data = {"w": state.windows, "n": state.count, "q": plain(state.quantity)}
        return data | {"steps": steps_to_json(state.steps)}
    if isinstance(state, Fees):
        data = {
            "n": state.count,
            "a": plain(state.amount),
            "up": plain(state.raised),
            "cut": plain(state.cut),
        }
        if state.first:
            data["first"] = [
                [row.occurred_at.isoformat(), row.event_id, plain(row.amount)]
                for row in state.first
            ]
        return data
    data = {"n": state.count, "q": plain(state.value)}
    if state.latest is not None:
        data["at"] = [state.latest[0].isoformat(), state.latest[1]]
    if state.seen:
        data["seen"] = sorted(state.seen)
    if state.beyond:
        data["beyond"] = plain(state.beyond)
    return data


def _pieces(state: Pieces) -> dict[str, Any]:
    """Return the pieces of an outcome; what is empty is left out."""
    first = [at and at.isoformat() for at in state.first]
    data: dict[str, Any] = {"pieces": list(state.counts), "first": first}
    if any(state.times):
        data["times"] = [_texts(times) for times in state.times]
    if state.confirmed:
        data["yes"] = _texts(state.confirmed)
    if state.reversed:
        data["no"] = _texts(state.reversed)
    return data | ({"cost": plain(state.cost)} if state.cost else {})


def _pieces_from(data: Mapping[str, Any]) -> Pieces:
    """Return the pieces that `_pieces` wrote."""
    return Pieces(
        tuple(data["pieces"]),
        tuple(at and datetime.fromisoformat(at) for at in data["first"]),
        tuple(_times(texts) for texts in data.get("times", ())),
        _times(data.get("yes", ())),
        _times(data.get("no", ())),
        Decimal(data.get("cost", 0)),
    )


def _texts(times: tuple[datetime, ...]) -> list[str]:
    """Return times as texts."""
    return [at.isoformat() for at in times]


def _times(texts: Iterable[str]) -> tuple[datetime, ...]:
    """Return the times that `_texts` wrote."""
    return tuple(datetime.fromisoformat(text) for text in texts)


def _use(use: Use) -> dict[str, str]:
    """Return quantities as texts, in key order."""
    return {label: plain(use[label]) for label in sorted(use)}


def _use_from(data: Mapping[str, str]) -> dict[str, Decimal]:
    """Return the quantities that `_use` wrote."""
    return {label: Decimal(text) for label, text in data.items()}


def state_from_json(data: Mapping[str, Any]) -> dict[str, ChargeState]:
    """Return the state that `state_to_json` wrote."""
    return {key: _charge_from_json(row) for key, row in data.items()}


def _charge_from_json(data: Mapping[str, Any]) -> ChargeState:
    """Return one charge's state."""
    if "pieces" in data:
        return _pieces_from(data)
    if "weighed" in data:
        raised = Decimal(data.get("raised", 0))
        meters = _use_from(data["weighed"])
        return Weighed(data["n"], Decimal(data["q"]), raised, meters)
    if "w" in data:
        steps = steps_from_json(data["steps"])
        return Windows(data["n"], data["w"], Decimal(data["q"]), steps)
    if "s" in data:
        penal = _use_from(data.get("pen", {}))
        return Dims(_use_from(data["u"]), penal, data["i"], data["s"])
    if "u" in data:
        closed = data.get("closed", False)
        return SessionUse(_use_from(data["u"]), data["i"], data["f"], closed)
    if "a" in data:
        first = tuple(
            First(datetime.fromisoformat(at), event_id, Decimal(amount))
            for at, event_id, amount in data.get("first", ())
        )
        return Fees(
            first,
            data["n"],
            Decimal(data["a"]),
            Decimal(data["up"]),
            Decimal(data["cut"]),
        )
    at = data.get("at")
    latest = None if at is None else (datetime.fromisoformat(at[0]), at[1])
    seen = frozenset(data.get("seen", ()))
    beyond = Decimal(data.get("beyond", 0))
    return Tally(data["n"], Decimal(data["q"]), latest, seen, beyond)
