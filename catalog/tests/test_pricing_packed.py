"""Steps as the ledger keeps them: short, and none is lost."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import NO_STEPS, Line, Step, packed
from catalog.pricing.lines import steps_to_json
from catalog.pricing.packed import pack_steps, unpack_steps

KINDS = st.sampled_from(
    ["unit", "tier", "volume@2026-10-01T10", "reversed:unit", 'recipe:"odd"\n', "é"]
)
NUMBERS = st.decimals(-(10**9), 10**9, allow_nan=False, places=12) | st.sampled_from(
    [Decimal(0), Decimal("-0"), Decimal("1E-12"), Decimal("1E+3"), Decimal("15.00")]
)
HEAD = (KINDS, NUMBERS, NUMBERS, NUMBERS)
TAIL = (NUMBERS, NUMBERS, NUMBERS, NUMBERS | st.none())
# As most steps are: of no tier, or of the first one; and of all kinds.
PLAIN = st.one_of(st.tuples(*HEAD), st.tuples(*HEAD, NUMBERS)).map(
    lambda values: Step(*values)
)
STEPS = st.tuples(*HEAD, *TAIL).map(lambda values: Step(*values))


def line_of(steps: tuple[Step, ...], quantity: Decimal, amount: Decimal) -> Line:
    """Return a line with such steps."""
    return Line("calls", "Calls", quantity, amount, "call", "USD", steps)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Draw lines of any steps; half of them say what their only step says."""
    steps = tuple(draw(st.lists(STEPS | PLAIN, max_size=3)))
    quantity, amount = draw(NUMBERS), draw(NUMBERS)
    if len(steps) == 1 and draw(st.booleans()):
        quantity, amount = steps[0].quantity, steps[0].amount
    return line_of(steps, quantity, amount)


@given(lines())
def test_what_is_packed_comes_back(line: Line) -> None:
    data = json.loads(pack_steps(line))
    assert unpack_steps(data, line.quantity, line.amount) == line.steps
    # A second time from memory.
    assert json.loads(pack_steps(line)) == data


@given(lines())
def test_the_former_form_is_read_too(line: Line) -> None:
    data = json.loads(json.dumps(steps_to_json(line.steps)))
    assert unpack_steps(data, line.quantity, line.amount) == line.steps


@given(STEPS | PLAIN)
def test_a_step_that_is_the_whole_line_is_short(step: Step) -> None:
    data = json.loads(pack_steps(line_of((step,), step.quantity, step.amount)))
    assert data[0] == step.kind
    assert Decimal(data[1]) == step.unit_amount
    assert len(data) <= 6


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("unit", Decimal(2), Decimal("15.00"), Decimal(30)), '["unit","15"]'),
        (
            Step("unit", Decimal(2), Decimal(3), Decimal("6E-6"), Decimal(1_000_000)),
            '["unit","3","1000000"]',
        ),
        (
            Step("tier", Decimal(2), Decimal(3), Decimal(6), up_to=Decimal(10)),
            '["tier","3","1","0","0","10"]',
        ),
        (
            Step("tier", Decimal(2), Decimal(3), Decimal(9), flat_amount=Decimal(3)),
            '["tier","3","1","3"]',
        ),
    ],
)
def test_the_usual_steps_are_short(step: Step, text: str) -> None:
    assert pack_steps(line_of((step,), step.quantity, step.amount)) == text


def test_a_step_that_differs_from_its_line_keeps_its_own_figures() -> None:
    step = Step("unit", Decimal(2), Decimal(15), Decimal(30))
    for quantity, amount in ((0, 30), (2, 31), (-2, 30)):
        line = line_of((step,), Decimal(quantity), Decimal(amount))
        assert pack_steps(line) == '[["unit","2","15","30"]]'
    assert pack_steps(line_of((), Decimal(0), Decimal(0))) == NO_STEPS


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "KEPT_MAX", 10)
    packed._kept.clear()
    for number in range(50):
        step = Step("unit", Decimal(1), Decimal(number), Decimal(number))
        text = pack_steps(line_of((step,), step.quantity, step.amount))
        assert text == f'["unit","{number}"]'
        assert len(packed._kept) <= 10
