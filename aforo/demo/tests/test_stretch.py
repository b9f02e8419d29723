"""The recorded hour as a month: in order, inside, and the same every time."""

from __future__ import annotations

import datetime as dt

from aforo.demo import stretch

END = dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)
PARTS = 10_000


def test_the_month_is_filled_in_order_from_its_start_to_its_end():
    month = stretch.month_before(END)
    at = [month.at(part, PARTS) for part in range(PARTS)]
    assert at == sorted(at)
    assert at[0] == month.start == END - dt.timedelta(days=30)
    assert END - dt.timedelta(hours=1) < at[-1] < END


def test_the_same_part_falls_on_the_same_instant_again():
    at = stretch.month_before(END).at(4_711, PARTS)
    assert at == stretch.month_before(END).at(4_711, PARTS)
    assert at.microsecond % 1_000 == 0


def test_days_are_busier_than_nights_and_workdays_busier_than_weekends():
    month = stretch.month_before(END)
    at = [month.at(part, PARTS) for part in range(PARTS)]
    by_hour = [sum(a.hour == hour for a in at) for hour in range(24)]
    by_weekday = [sum(a.weekday() == day for a in at) for day in range(7)]
    assert by_hour[10] > 5 * by_hour[3]
    assert min(by_weekday[:5]) > 2 * max(by_weekday[5:])


def test_the_last_whole_weekend_lies_before_the_instant():
    saturday, monday = stretch.weekend_before(END)  # A Saturday morning.
    assert saturday == dt.datetime(2026, 11, 14, tzinfo=dt.UTC)
    assert monday == dt.datetime(2026, 11, 16, tzinfo=dt.UTC)
