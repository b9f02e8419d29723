"""Billing periods in every zone, with midnights that do not exist or come twice."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aforo.lib.errors import AforoError
from billing import accounts, periods
from billing.models import BillingPeriod
from billing.tests.cast import DAY, NOVEMBER, OCTOBER, make_cast

ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
instants = st.datetimes(
    min_value=dt.datetime(1990, 1, 1),
    max_value=dt.datetime(2060, 1, 1),
    timezones=st.just(dt.UTC),
)


@given(zone=st.sampled_from(ZONES), instant=instants)
@settings(max_examples=400, deadline=None)
def test_every_instant_lies_in_one_month_of_its_zone(zone, instant):
    start, end = periods.month_bounds(instant, ZoneInfo(zone))
    assert start <= instant < end
    assert dt.timedelta(days=27) < end - start < dt.timedelta(days=32)


@given(zone=st.sampled_from(ZONES), instant=instants)
@settings(max_examples=400, deadline=None)
def test_months_follow_each_other_without_hole_or_overlap(zone, instant):
    start, end = periods.month_bounds(instant, ZoneInfo(zone))
    assert periods.month_bounds(end, ZoneInfo(zone))[0] == end
    assert periods.month_bounds(start - dt.timedelta(microseconds=1), ZoneInfo(zone))[
        1
    ] == (start)
    assert periods.bounds_after(start, ZoneInfo(zone)) == end


@given(zone=st.sampled_from(ZONES), instant=instants)
@settings(max_examples=400, deadline=None)
def test_a_day_begins_at_the_first_instant_that_shows_its_date(zone, instant):
    key = ZoneInfo(zone)
    day = instant.astimezone(key).date()
    begin = periods.first_instant(day, key)
    assert begin.astimezone(key).date() >= day
    assert (begin - dt.timedelta(seconds=1)).astimezone(key).date() < day


@pytest.mark.parametrize(
    ("_case", "zone", "day", "expected"),
    [
        ("skipped: Sao Paulo 2017", "America/Sao_Paulo", "2017-10-15", "03:00"),
        ("skipped: Beirut 2022", "Asia/Beirut", "2022-03-27", "22:00"),
        ("twice: Havana 2020", "America/Havana", "2020-11-01", "04:00"),
        ("plain: Berlin in winter", "Europe/Berlin", "2026-11-01", "23:00"),
        ("plain: Berlin in summer", "Europe/Berlin", "2026-10-01", "22:00"),
    ],
)
def test_midnights_that_are_skipped_or_come_twice(_case, zone, day, expected):
    begin = periods.first_instant(dt.date.fromisoformat(day), ZoneInfo(zone))
    assert f"{begin:%H:%M}" == expected


def test_the_release_of_the_zone_rules_is_known():
    assert periods.tzdata_version()[:2] == "20"


def test_days_are_counted_in_the_zone():
    berlin = ZoneInfo("Europe/Berlin")
    start, end = periods.month_bounds(OCTOBER + DAY, berlin)
    assert periods.days(start, end, berlin) == 31
    assert periods.days(end - dt.timedelta(hours=1), end, berlin) == 1


@pytest.mark.django_db
def test_a_period_is_made_once():
    cast = make_cast(timezone="Asia/Tokyo")
    first = periods.period_at(cast.customer.pk, OCTOBER)
    assert periods.period_at(cast.customer.pk, OCTOBER + DAY) == first
    assert first.start_at == dt.datetime(2026, 9, 30, 15, tzinfo=dt.UTC)


@pytest.mark.django_db
def test_periods_between_the_stored_ones_are_made_too():
    cast = make_cast()
    periods.period_at(cast.customer.pk, OCTOBER)
    periods.period_at(cast.customer.pk, OCTOBER + DAY * 100)
    periods.period_at(cast.customer.pk, OCTOBER - DAY * 100)
    stored = list(BillingPeriod.objects.order_by("start_at"))
    assert len(stored) == 8
    assert all(a.end_at == b.start_at for a, b in pairwise(stored))


@pytest.mark.django_db
def test_the_end_instant_belongs_to_the_next_period():
    cast = make_cast()
    periods.period_at(cast.customer.pk, OCTOBER)
    assert periods.period_at(cast.customer.pk, NOVEMBER).start_at == NOVEMBER


@pytest.mark.django_db
def test_a_change_of_zone_leaves_no_hole_and_no_short_period():
    cast = make_cast()
    first = periods.period_at(cast.customer.pk, OCTOBER)
    cast.customer.timezone = "America/New_York"
    cast.customer.save()
    second = periods.period_at(cast.customer.pk, NOVEMBER)
    assert second.start_at == first.end_at
    assert second.end_at == dt.datetime(2026, 12, 1, 5, tzinfo=dt.UTC)


@pytest.mark.django_db
def test_a_stored_period_keeps_its_instants_when_the_zone_changes():
    cast = make_cast()
    first = periods.period_at(cast.customer.pk, OCTOBER)
    cast.customer.timezone = "Asia/Tokyo"
    cast.customer.save()
    assert periods.period_at(cast.customer.pk, OCTOBER + DAY).end_at == first.end_at


def test_an_unknown_zone_is_refused():
    with pytest.raises(AforoError, match="unknown_timezone"):
        accounts.check_zone("Mars/Olympus")
