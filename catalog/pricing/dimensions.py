"""Rates by tool, tokens, duration and session: quantities, their prices, one meter.

Everything that a period used is a quantity with a label: `tool:x` invocations,
`token:m` or `token:m:x` units of a measurement (of a tool with a multiplier),
`time:n` invocations or seconds in the nth bucket. Quantities only add up, and a
session's share of them depends on nothing but the session's own sums; so the price of
a period is free of the order of its events, although volume prices and discounts are
retroactive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from aforo.lib.money import QUANTUM
from catalog.pricing.agentic import Dimensions, DurationUnit, From
from catalog.pricing.commitment import commitment_steps, overage_of
from catalog.pricing.exact import HUNDRED, ONE, ZERO, fit_quantity, q12
from catalog.pricing.lines import Line, Step, amount_of, difference, rounded
from catalog.pricing.plan import Charge
from catalog.pricing.state import (
    NO_DIMS,
    NO_SESSION,
    ChargeState,
    Dims,
    PlanState,
    SessionUse,
    Use,
    group_key,
)
from catalog.pricing.usage import Reason, Refused, UsageEvent

TOOL = "tool"  # The property that names an invocation's tool.
STATUS = "status"
FAILED = frozenset({"FAILED", "TIMEOUT", "RATE_LIMITED"})
DURATIONS = ("tool_duration_ms", "duration_ms")
OTHER = "tool:*"
SESSIONS = "sessions"  # What session fees count.
_MS = Decimal(1000)


def use_of(model: Dimensions, event: UsageEvent) -> dict[str, Decimal]:
    """Return what one event uses, by label.

    Raises Refused for a negative quantity.
    """
    tool = event.properties.get(TOOL, "")
    use: dict[str, Decimal] = {}
    if tool in model.tools:
        use[f"tool:{tool}"] = ONE
    elif tool and (model.volume_rates or model.other_tools is not None):
        use[OTHER] = ONE
    factor = f":{tool}" if tool in model.multipliers else ""
    for name in model.tokens:
        quantity = event.measurements.get(name)
        if quantity:
            use[f"token:{name}{factor}"] = quantity
    if model.buckets:
        taken = next(
            (event.measurements[n] for n in DURATIONS if n in event.measurements), None
        )
        if taken is not None:
            seconds = taken / _MS
            label = f"time:{_bucket(model, seconds)}"
            by_second = model.duration_unit is DurationUnit.PER_SECOND
            use[label] = seconds if by_second else ONE
    if any(quantity < ZERO for quantity in use.values()):
        raise Refused(Reason.NEGATIVE_QUANTITY, "a quantity is negative")
    return {label: quantity for label, quantity in use.items() if quantity}


def _bucket(model: Dimensions, seconds: Decimal) -> int:
    """Return the first bucket that a duration fits into, else the last."""
    for index, bucket in enumerate(model.buckets):
        if seconds <= bucket.max_seconds:
            return index
    return len(model.buckets) - 1


def rate_of(model: Dimensions, label: str, invocations: int) -> Decimal:
    """Return the price of one of a label, in a period with so many invocations."""
    kind, _, name = label.partition(":")
    if label == OTHER:
        reached = level(model.volume_rates, invocations)
        return reached.value if reached else model.other_tools or ZERO
    if kind == "tool":
        return model.tools[name]
    if kind == "time":
        return model.buckets[int(name)].rate
    measurement, _, tool = name.partition(":")
    return model.tokens[measurement] * model.multipliers.get(tool, ONE)


def level(levels: tuple[From, ...], invocations: int) -> From | None:
    """Return the last level that a number of invocations reaches."""
    reached = [one for one in levels if one.min_invocations <= invocations]
    return reached[-1] if reached else None


def share(model: Dimensions, session: SessionUse) -> tuple[Use, Use]:
    """Return what of a session is priced, and what of that is penalised.

    The fee covers the dearest invocations by the list: any other choice would hang on
    the order in which they came.
    """
    use: Use = session.use
    if model.included_tools:
        use = _without(model, use, Decimal(model.included_tools))
    penalty = model.penalty
    if penalty is None or not session.closed:
        return use, {}
    bad = session.failed > penalty.threshold * session.invocations
    return use, use if bad else {}


def labels_of(model: Dimensions) -> list[str]:
    """Return everything that a charge counts: tools, tokens, durations, sessions."""
    labels = [f"tool:{tool}" for tool in model.tools]
    if model.volume_rates or model.other_tools is not None:
        labels.append(OTHER)
    for name in model.tokens:
        labels.append(f"token:{name}")
        labels += [f"token:{name}:{tool}" for tool in model.multipliers]
    labels += [f"time:{index}" for index in range(len(model.buckets))]
    return labels + [SESSIONS] * bool(model.session_fee)


def dims_of(model: Dimensions, quantities: Mapping[str, Decimal]) -> Dims:
    """Return the state of a period in which so much of each label was used.

    Sessions share the calls evenly and end without errors.
    """
    sessions = int(quantities.get(SESSIONS, ZERO))
    use = {label: q for label, q in quantities.items() if label != SESSIONS and q}
    tools = [q for label, q in use.items() if label.startswith("tool:")]
    covered = Decimal(sessions * model.included_tools)
    return Dims(_without(model, use, covered), {}, int(sum(tools, ZERO)), sessions)


def _without(model: Dimensions, use: Use, left: Decimal) -> dict[str, Decimal]:
    """Return a use without so many calls, the dearest by the list."""
    rest = dict(use)
    tools = [label for label in rest if label.startswith("tool:")]
    for label in sorted(tools, key=lambda key: (-rate_of(model, key, 0), key)):
        covered = min(left, rest[label])
        rest[label] -= covered
        left -= covered
    return {label: quantity for label, quantity in rest.items() if quantity}


def period_steps(model: Dimensions, dims: Dims) -> tuple[Step, ...]:
    """Return what a period costs, step by step, each with 12 places."""
    return rounded(_exact(model, dims))


def _exact(model: Dimensions, dims: Dims) -> Iterator[Step]:
    """Yield the steps with exact amounts."""
    subtotal = penal = ZERO
    if model.commitment is not None:
        yield from commitment_steps(model.commitment, dims.use.get(OTHER, ZERO))
    for label in sorted(dims.use):
        rate = rate_of(model, label, dims.invocations)
        if label == OTHER and model.commitment is not None:
            beyond = overage_of(model.commitment, dims.use[label])
            if beyond:
                subtotal += q12(beyond * rate)
                yield Step("overage", beyond, rate, q12(beyond * rate))
            continue
        amount = q12(dims.use[label] * rate)
        subtotal += amount
        yield Step(label, dims.use[label], rate, amount)
    if model.penalty is not None:
        for label, quantity in dims.penal.items():
            penal += q12(quantity * rate_of(model, label, dims.invocations))
        more = penal * (model.penalty.multiplier - ONE)
        subtotal += more
        if penal:
            yield Step("penalty", penal, model.penalty.multiplier, more)
    discount = level(model.discounts, dims.invocations)
    if discount is not None and subtotal:
        off = -subtotal * (discount.value / HUNDRED)
        yield Step("discount", subtotal, discount.value, off)
    if model.session_fee and dims.sessions:
        sessions = Decimal(dims.sessions)
        yield Step("session", sessions, model.session_fee, sessions * model.session_fee)


def period_line(
    charge: Charge, currency: str, state: ChargeState | None
) -> Line | None:
    """Return what a period's usage of a charge by dimensions costs so far."""
    assert isinstance(charge.model, Dimensions)
    dims = NO_DIMS if state is None else state
    assert isinstance(dims, Dims)
    steps = period_steps(charge.model, dims)
    if not steps and not dims.invocations:
        return None
    return Line(
        charge.key,
        charge.name,
        Decimal(dims.invocations),
        amount_of(steps),
        charge.unit,
        currency,
        steps,
    )


def _sum(*parts: tuple[Use, int]) -> dict[str, Decimal]:
    """Add quantities, each part with its sign; what comes to nothing is left out."""
    total: dict[str, Decimal] = {}
    for use, sign in parts:
        for label, quantity in use.items():
            total[label] = total.get(label, ZERO) + sign * quantity
    for quantity in total.values():
        fit_quantity(quantity, QUANTUM)
    return {label: quantity for label, quantity in total.items() if quantity}


class DimensionMeter:
    """Adds up the usage of a charge by dimensions, session by session."""

    __slots__ = (
        "before",
        "charge",
        "currency",
        "dims",
        "model",
        "next",
        "sessions",
        "steps",
    )

    def __init__(self, charge: Charge, currency: str, before: PlanState) -> None:
        assert isinstance(charge.model, Dimensions)
        self.charge, self.currency, self.model = charge, currency, charge.model
        dims = before.get(charge.key, NO_DIMS)
        assert isinstance(dims, Dims)
        self.before = before
        self.dims = dims
        self.steps = period_steps(self.model, dims)
        self.sessions: dict[str, SessionUse] = {}
        self.next: tuple[Dims, str, SessionUse] | None = None

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take an event."""
        use = use_of(self.model, event)
        calls = 1 if event.properties.get(TOOL) else 0
        failed = calls if event.properties.get(STATUS) in FAILED else 0
        if not event.session or not self.model.needs_sessions:
            dims = self.dims
            total = _sum((dims.use, 1), (use, 1))
            moved = Dims(total, dims.penal, dims.invocations + calls, dims.sessions)
            self.next = (moved, "", NO_SESSION)
            return
        old = self._session(event.session)
        new = SessionUse(
            _sum(((old or NO_SESSION).use, 1), (use, 1)),
            (old or NO_SESSION).invocations + calls,
            (old or NO_SESSION).failed + failed,
            (old or NO_SESSION).closed,
        )
        self.next = (self._moved(old, new), event.session, new)

    def _session(self, session: str) -> SessionUse | None:
        """Return a session's use so far, or None when this is its first event."""
        key = group_key(self.charge.key, session)
        found = self.sessions.get(key) or self.before.get(key)
        assert found is None or isinstance(found, SessionUse)
        return found

    def _moved(self, old: SessionUse | None, new: SessionUse) -> Dims:
        """Return the period's sums with one session's use replaced."""
        dims = self.dims
        gone, gone_penal = share(self.model, old) if old else ({}, {})
        come, come_penal = share(self.model, new)
        return Dims(
            _sum((dims.use, 1), (gone, -1), (come, 1)),
            _sum((dims.penal, 1), (gone_penal, -1), (come_penal, 1)),
            dims.invocations - (old.invocations if old else 0) + new.invocations,
            dims.sessions + (0 if old else 1),
        )

    def commit(self) -> Line | None:
        """Add the staged event."""
        assert self.next is not None
        dims, session, use = self.next
        if session:
            self.sessions[group_key(self.charge.key, session)] = use
        return self._move(dims)

    def _move(self, dims: Dims) -> Line | None:
        """Go to other sums and return the difference in price."""
        steps = period_steps(self.model, dims)
        added = Decimal(dims.invocations - self.dims.invocations)
        amount = amount_of(steps) - amount_of(self.steps)
        changed: tuple[Step, ...] = ()
        if steps:
            changed = difference(after=steps, before=self.steps)
        self.dims, self.steps = dims, steps
        if not added and not amount:
            return None
        charge = self.charge
        return Line(
            charge.key, charge.name, added, amount, charge.unit, self.currency, changed
        )

    def close(self, session: str) -> Line | None:
        """End a session: from now on its share of errors counts."""
        old = self._session(session)
        if old is None or old.closed:
            return None
        new = SessionUse(old.use, old.invocations, old.failed, closed=True)
        self.sessions[group_key(self.charge.key, session)] = new
        return self._move(self._moved(old, new))

    def state(self) -> ChargeState:
        """Return the period's sums so far."""
        return self.dims

    def group_states(self) -> Mapping[str, ChargeState]:
        """Return the use of the sessions that were touched, by their keys."""
        return self.sessions
