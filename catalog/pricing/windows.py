"""Windows within a period: a day, an hour, a session or one event priced by itself.

A metric with a window is aggregated once for each; the charge prices every window's
quantity as it would price a period's, and a period costs the sum. So included units,
packages and tiers begin anew in each, and what the first tier costs on entering it is
due in each window that has usage, never for one without.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal

from aforo.lib.money import QUANTUM
from catalog.pricing.agentic import Compound, Dimensions
from catalog.pricing.curves import breakdown
from catalog.pricing.exact import ONE, check_quantity
from catalog.pricing.lines import Line, Step, amount_of, difference
from catalog.pricing.meters import Part, TallyMeter
from catalog.pricing.plan import Charge, Included, Metric, Model, Percentage, Window
from catalog.pricing.reading import PlanError
from catalog.pricing.state import (
    NO_TALLY,
    NO_WINDOWS,
    ChargeState,
    PlanState,
    Tally,
    Windows,
    group_key,
)
from catalog.pricing.usage import UsageEvent

_CLOCK = {Window.DAY: "%Y-%m-%d", Window.HOUR: "%Y-%m-%dT%H"}
_FREE = ("included", "free")
MARK = "@"  # Between a step's kind and its window, such as tier@day.


def check_window(model: Model, metric: Metric, path: str) -> None:
    """Refuse a window beside a price that every single event decides."""
    inner = model.overage if isinstance(model, Included) else model
    if metric.window is Window.PERIOD or not isinstance(inner, Percentage):
        return
    if not inner.is_linear:
        message = (
            "a percentage with free events, fees or bounds looks at the events of the"
            f" whole period one by one: leave out the window {metric.window}"
        )
        raise PlanError("unsupported", f"{path}.window", message)


def window_of(window: Window, event: UsageEvent) -> str:
    """Return the window that an event falls into; empty: one of its own.

    Days and hours are those of UTC. An event outside every session is a window.
    """
    if window is Window.SESSION:
        return event.session
    if window not in _CLOCK:
        return ""
    return _digest(event.occurred_at.astimezone(UTC).strftime(_CLOCK[window]))


@functools.lru_cache(maxsize=4_096)
def _digest(text: str) -> str:
    """Return a text as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def window_steps(charge: Charge, quantity: Decimal) -> tuple[Step, ...]:
    """Return the price of one window's quantity, its steps marked with the window."""
    assert charge.metric is not None
    assert not isinstance(charge.model, Dimensions | Compound)
    mark = f"{MARK}{charge.metric.window}"
    return tuple(
        step._replace(kind=step.kind + mark)
        for step in breakdown(charge.model, quantity)
    )


def add_steps(*parts: tuple[Iterable[Step], int]) -> tuple[Step, ...]:
    """Add steps up, those of each part so many times; what comes to nothing goes.

    The result depends on no order: by tier, what is free first.
    """
    found: dict[tuple[str, Decimal], Step] = {}
    for steps, times in parts:
        for step in steps:
            key = (step.kind, step.floor)
            quantity, amount = times * step.quantity, times * step.amount
            flat = times * step.flat_amount
            if old := found.get(key):
                quantity += old.quantity
                amount += old.amount
                flat += old.flat_amount
            found[key] = step._replace(
                quantity=quantity, amount=amount, flat_amount=flat
            )
    kept = [step for step in found.values() if step.quantity or step.amount]
    return tuple(
        sorted(kept, key=lambda s: (not s.kind.startswith(_FREE), s.floor, s.kind))
    )


def windows_line(
    charge: Charge, currency: str, state: ChargeState | None
) -> Line | None:
    """Return what a period's windows cost so far."""
    windows = NO_WINDOWS if state is None else state
    assert isinstance(windows, Windows)
    amount = amount_of(windows.steps)
    if not windows.quantity and not amount:
        return None
    return Line(
        charge.key,
        charge.name,
        windows.quantity,
        amount,
        charge.unit,
        currency,
        windows.steps,
    )


class WindowMeter:
    """Aggregates each window and adds up what they cost."""

    __slots__ = (
        "before",
        "charge",
        "currency",
        "next",
        "part",
        "tallies",
        "window",
        "windows",
    )

    def __init__(self, part: Part, before: PlanState) -> None:
        assert part.charge.metric is not None
        self.part = part
        self.charge, self.currency = part.charge, part.currency
        self.window = part.charge.metric.window
        self.before = before
        windows = before.get(part.charge.key, NO_WINDOWS)
        assert isinstance(windows, Windows)
        self.windows = windows
        self.tallies: dict[str, TallyMeter] = {}
        # The window's key (empty: of the event alone), its meter, its quantity before.
        self.next: tuple[str, TallyMeter, Decimal] | None = None

    def stage(self, value: Decimal | str, event: UsageEvent) -> None:
        """Take a value for its window."""
        group = window_of(self.window, event)
        key = group_key(self.charge.key, group) if group else ""
        meter = self.tallies.get(key) if key else None
        if meter is None:
            tally = self.before.get(key, NO_TALLY)
            assert isinstance(tally, Tally)
            meter = TallyMeter(self.part, tally)
        old = meter.pricer.quantity
        meter.stage(value, event)
        # A sum that fits keeps every amount within its digits too.
        check_quantity(self.windows.quantity - old + meter.staged)
        self.next = (key, meter, old)

    def commit(self) -> Line | None:
        """Add the staged value to its window, and the difference to the sum."""
        assert self.next is not None
        key, meter, old = self.next
        is_new = not meter.tally.count
        meter.commit()
        if key:
            self.tallies[key] = meter
        quantity = meter.pricer.quantity
        charge, windows = self.charge, self.windows
        before = () if is_new else window_steps(charge, old)
        after = window_steps(charge, quantity)
        self.windows = Windows(
            windows.count + 1,
            windows.windows + is_new,
            windows.quantity + quantity - old,
            add_steps((windows.steps, 1), (after, 1), (before, -1)),
        )
        steps = difference(after=after, before=before)
        amount, added = amount_of(steps), quantity - old
        if not added and not amount:
            return None
        unit, currency = charge.unit, self.currency
        return Line(charge.key, charge.name, added, amount, unit, currency, steps)

    def state(self) -> ChargeState:
        """Return the sum so far."""
        return self.windows

    def group_states(self) -> Mapping[str, ChargeState]:
        """Return what the windows that were touched counted, by their keys."""
        return {key: meter.state() for key, meter in self.tallies.items()}


def shared(charge: Charge, quantity: Decimal, windows: int) -> Windows:
    """Return the state of a period whose windows share a quantity evenly.

    Whole units stay whole, so there are at most as many windows as units.
    """
    if not quantity or windows < 1:
        return NO_WINDOWS
    whole = quantity == quantity.to_integral_value()
    if whole:
        windows = int(min(Decimal(windows), quantity))
    unit = ONE if whole else QUANTUM
    each = quantity // (unit * windows) * unit
    more = int((quantity - each * windows) / unit)  # So many have one unit more.
    steps = add_steps(
        (window_steps(charge, each), windows - more),
        (window_steps(charge, each + unit), more),
    )
    return Windows(windows, windows, quantity, steps)
