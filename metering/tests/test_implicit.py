"""Calls that name no session: the credential's running one, or a new one."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from aforo.lib import clock, ids
from aforo.management.commands.verify import breaks
from billing import credentials
from catalog.models import Product
from metering import amending, directory, implicit, ingest, pipeline, pool, sessions
from metering.implicit import Scope, Window, place
from metering.models import ImplicitSession, Session, UsageEvent
from metering.tests.conftest import Door, Seller

IDLE = dt.timedelta(minutes=10)
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


class Call:
    """As much of an event as its place needs."""

    def __init__(self, minutes: float, name: str = "") -> None:
        self.occurred_at = NOON + dt.timedelta(minutes=minutes)
        self.event_id = name or f"{minutes}"
        self.session_key = ""


def placed(*requests: Sequence[float]) -> list[list[float]]:
    """Return the sessions that calls at these minutes make, request by request."""
    windows: list[Window] = []
    calls: list[Call] = []
    for minutes in requests:
        batch = [Call(minute) for minute in minutes]
        place(batch, windows, IDLE)  # type: ignore[arg-type]
        calls += batch
    by_key: dict[str, list[float]] = {}
    for call in calls:
        at = (call.occurred_at - NOON).total_seconds() / 60
        by_key.setdefault(call.session_key, []).append(at)
    return sorted(sorted(own) for own in by_key.values())


PLACES = [
    ("one run", [[0, 5, 14]], [[0, 5, 14]]),
    ("a pause of the idle time begins anew", [[0, 10]], [[0], [10]]),
    ("a pause just below it does not", [[0, 9.99]], [[0, 9.99]]),
    ("the order within a request does not matter", [[14, 0, 5]], [[0, 5, 14]]),
    ("a late call joins the run of its own time", [[0, 30], [5]], [[0, 5], [30]]),
    ("a late call goes before a run", [[30], [25]], [[25, 30]]),
    ("a late call joins what ran before it", [[0, 15], [8]], [[0, 8], [15]]),
    ("two runs never become one", [[0, 15], [8], [12]], [[0, 8, 12], [15]]),
    ("a late call far from all has its own", [[0, 60], [30]], [[0], [30], [60]]),
]


@pytest.mark.parametrize(("_case", "requests", "wanted"), PLACES)
def test_a_call_joins_what_was_running(
    _case: str, requests: list[list[float]], wanted: list[list[float]]
) -> None:
    assert placed(*requests) == wanted


def test_a_run_that_somebody_ended_takes_no_later_call() -> None:
    ended = Window(ids.new_id(), NOON, NOON, ended_at=NOON + IDLE / 2)
    before, after = Call(4), Call(6)
    place([before, after], [ended], IDLE)  # type: ignore[list-item]
    assert before.session_key == ended.key
    assert after.session_key not in {"", ended.key}


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=30, unique=True), st.randoms()
)
def test_in_time_order_the_sessions_are_the_runs_without_a_pause(
    minutes: list[int], chance: Any
) -> None:
    runs: list[list[float]] = []
    for minute in sorted(minutes):
        if runs and minute - runs[-1][-1] < 10:
            runs[-1].append(minute)
        else:
            runs.append([minute])
    assert placed(*[[m] for m in sorted(minutes)]) == runs
    shuffled = list(minutes)
    chance.shuffle(shuffled)
    assert placed(shuffled) == runs  # One request, in any order.
    # One by one in any order, a session may be torn apart, never joined to another.
    torn = placed(*[[m] for m in shuffled])
    assert all(any(set(own) <= set(run) for run in runs) for own in torn)


@pytest.fixture
def opted(seller: Seller) -> Seller:
    """A seller whose product wants implicit sessions."""
    Product.objects.update(implicit_sessions=True)
    directory.forget()
    return seller


def at(minutes: float) -> str:
    """An instant so many minutes after one of yesterday."""
    then = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
    return (then - dt.timedelta(days=1) + dt.timedelta(minutes=minutes)).isoformat()


def keys(seller: Seller) -> list[str]:
    """The session keys of the seller's events, oldest usage first."""
    found = UsageEvent.objects.filter(tenant=seller.tenant).order_by("occurred_at")
    return list(found.values_list("session_key", flat=True))


def test_without_being_asked_for_a_call_has_no_session(
    door: Door, seller: Seller
) -> None:
    assert door.post(seller, seller.tool()).status == 200
    assert keys(seller) == [""]
    assert not ImplicitSession.objects.exists()


def test_calls_join_until_a_pause(door: Door, opted: Seller) -> None:
    for minute in (0, 9, 18, 28):
        assert door.post(opted, opted.tool(timestamp=at(minute))).status == 200
    first, second, third, fourth = keys(opted)
    assert first == second == third != fourth
    assert first.startswith("implicit:")
    pipeline.rate()
    assert sorted(Session.objects.values_list("event_count", flat=True)) == [1, 3]
    assert {c: f for c, f in breaks().items() if f} == {}


def test_any_id_of_a_session_goes_before(door: Door, opted: Seller) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    for members in (
        {"session_id": "own"},
        {"mcp": {"method": "tools/call", "session_id": "header"}},
        {"mcp": {"method": "tools/call", "meta_session_id": "meta"}},
        {"mcp": {"method": "tools/call", "trace_id": trace}},
    ):
        assert door.post(opted, opted.tool(**members)).status == 200
    own, header, meta, traced = (e.session_key for e in opted.stored())
    assert (own, header, meta) == ("own", "header", "meta")
    assert traced.startswith(f"trace:{trace}/")
    assert not ImplicitSession.objects.exists()


def test_what_is_no_call_or_has_no_credential_stays_without(
    door: Door, opted: Seller
) -> None:
    named = opted.tool(api_key=None, agent_id="agent-7", mcp_server_id="toolkit")
    model = opted.event(apiKey=opted.secret, productId="toolkit")
    for event in (named, model):
        assert door.post(opted, event).status == 200
    assert keys(opted) == ["", ""]


def test_each_credential_and_product_has_its_own(door: Door, opted: Seller) -> None:
    other = Product.objects.create(
        tenant=opted.tenant,
        name="Maps",
        code="maps",
        type=opted.product.type,
        implicit_sessions=True,
    )
    _, second = credentials.issue(
        agent=opted.agent, products=[opted.product, other], actor=None
    )
    directory.forget()
    for event in (
        opted.tool(),
        opted.tool(api_key=second, mcp_server_id="toolkit"),
        opted.tool(api_key=second, mcp_server_id="maps"),
        opted.tool(api_key=second, mcp_server_id="maps"),
    ):
        assert door.post(opted, event).status == 200
    one, two, three, four = (e.session_key for e in opted.stored())
    assert len({one, two, three}) == 3
    assert three == four


def test_a_resend_keeps_its_session_and_lengthens_none(
    door: Door, opted: Seller
) -> None:
    call = opted.tool(event_id="first")  # Without a time: now, each time.
    assert door.post(opted, call).status == 200
    before = ImplicitSession.objects.get()
    assert door.post(opted, call).json["status"] == "duplicate"
    after = ImplicitSession.objects.get()
    assert (after.started_at, after.last_at) == (before.started_at, before.last_at)
    assert len(keys(opted)) == 1


def test_an_ended_session_takes_no_more_calls(door: Door, opted: Seller) -> None:
    assert door.post(opted, opted.tool()).status == 200
    pipeline.rate()
    session = Session.objects.get()
    end = opted.event(
        eventType="session.completed",
        agentId="agent-7",
        sessionId=session.key,
    )
    assert door.post(opted, end).status == 200
    pipeline.rate()
    assert Session.objects.get().state == "completed"
    assert door.post(opted, opted.tool()).status == 200
    assert len(set(keys(opted))) == 2


def test_a_correction_stays_in_the_session(door: Door, opted: Seller) -> None:
    assert door.post(opted, opted.tool(event_id="a", timestamp=at(0))).status == 200
    pipeline.rate()
    (old,) = opted.stored()
    raw = opted.tool(event_id="a~2", timestamp=at(1), execution_duration_ms=5)

    async def judge() -> Any:
        try:
            key = opted.service_key
            caller = await ingest.authenticate(f"Bearer {key}")
            return await ingest.prepare(caller, [raw])
        finally:
            await pool.close()

    (new,) = asyncio.run(judge())
    amended = amending.amend(old, new, reason="Its duration was missing.")
    assert amended.event.session_key == old.session_key
    assert {c: f for c, f in breaks().items() if f} == {}


def test_requests_at_once_make_one_session(opted: Seller) -> None:
    sent = [opted.tool(event_id=f"e{n}", timestamp=at(n / 10)) for n in range(12)]

    async def send() -> None:
        caller = await ingest.authenticate(f"Bearer {opted.service_key}")
        judged = await ingest.prepare(caller, sent)

        some = asyncio.Semaphore(4)  # Transactions at once, each waiting its turn.

        async def alone(item: Any) -> None:
            async with some:
                await ingest._keep_alone(opted.tenant.pk, [item])

        try:
            await asyncio.gather(*map(alone, judged))
        finally:
            await pool.close()

    asyncio.run(send())
    assert len(keys(opted)) == 12
    window = ImplicitSession.objects.get()  # No two began at once.
    assert set(keys(opted)) == {window.key}


def test_a_request_costs_four_statements_however_many_calls(opted: Seller) -> None:
    seen: list[str] = []

    async def send(count: int, start: int) -> None:
        caller = await ingest.authenticate(f"Bearer {opted.service_key}")
        raws = [
            opted.tool(event_id=f"e{start + n}", timestamp=at(n)) for n in range(count)
        ]
        events = [e for e in await ingest.prepare(caller, raws) if e]

        class Counted:
            def __init__(self, real: Any) -> None:
                self.real = real

            async def execute(self, statement: str, values: Any) -> Any:
                seen.append(statement)
                return await self.real.execute(statement, values)

        try:
            async with pool.transaction(opted.tenant.pk) as link:
                await implicit.assign(Counted(link), opted.tenant.pk, events)  # type: ignore[arg-type]
        finally:
            await pool.close()

    asyncio.run(send(1, 0))
    assert len(seen) == 4
    seen.clear()
    asyncio.run(send(50, 100))
    assert len(seen) == 4


def test_the_place_is_decided_before_and_not_by_rating(
    door: Door, opted: Seller
) -> None:
    for minute in (0, 5):
        door.post(opted, opted.tool(timestamp=at(minute)))
    before = keys(opted)
    Product.objects.update(implicit_sessions=False, session_idle_s=1)
    pipeline.rate()
    sessions.expire(clock.now() + dt.timedelta(hours=3))
    assert keys(opted) == before
    assert Session.objects.get().event_count == 2


def test_another_tenant_does_not_see_them(
    door: Door, opted: Seller, make_seller: Callable[..., Seller]
) -> None:
    door.post(opted, opted.tool())
    other = make_seller()
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE aforo_web")
        try:
            cursor.execute(
                "SELECT set_config('aforo.tenant', %s, false)", [str(other.tenant.pk)]
            )
            cursor.execute("SELECT count(*) FROM metering_implicitsession")
            assert cursor.fetchone() == (0,)
        finally:
            cursor.execute("SELECT set_config('aforo.tenant', '', false)")
            cursor.execute("RESET ROLE")


def test_the_lock_has_one_name_for_a_credential_and_a_product() -> None:
    customer, credential, product = (ids.new_id() for _ in range(3))
    names = {Scope(customer, credential, product, idle).name for idle in (1, 600)}
    assert len(names) == 1
    pairs = itertools.permutations((credential, product))
    assert len({Scope(customer, a, b, 1).name for a, b in pairs}) == 2
