from __future__ import annotations

import asyncio

import pytest

from metering.flight import Flights


def test_a_burst_costs_two_reads_and_everybody_gets_what_they_want() -> None:
    reads: list[set[str]] = []

    async def read(key: str, wanted: dict[str, set[str]]) -> set[str]:
        reads.append(wanted["name"])
        await asyncio.sleep(0.01)
        return wanted["name"]

    async def burst() -> list[set[str]]:
        flights = Flights(read)
        first = asyncio.create_task(flights.join("a", {"name": {"0"}}))
        await asyncio.sleep(0.001)
        others = [flights.join("a", {"name": {str(n)}}) for n in range(1, 32)]
        return [await first, *await asyncio.gather(*others)]

    brought = asyncio.run(burst())
    assert reads == [{"0"}, {str(n) for n in range(1, 32)}]
    assert all(str(n) in names for n, names in enumerate(brought))


def test_keys_do_not_wait_for_each_other() -> None:
    async def read(key: str, wanted: dict[str, set[str]]) -> str:
        await asyncio.sleep(60 if key == "slow" else 0)
        return key

    async def both() -> str:
        flights = Flights(read)
        slow = asyncio.create_task(flights.join("slow", {}))
        await asyncio.sleep(0)
        quick = await asyncio.wait_for(flights.join("quick", {}), 5)
        slow.cancel()
        return quick

    assert asyncio.run(both()) == "quick"


def test_a_fault_reaches_everybody_and_the_next_read_is_a_new_one() -> None:
    answers: list[Exception | str] = [OSError("away"), "back"]

    async def read(key: str, wanted: dict[str, set[str]]) -> str:
        await asyncio.sleep(0)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def twice() -> str:
        flights = Flights(read)
        together = (flights.join("a", {}), flights.join("a", {}))
        faults = await asyncio.gather(*together, return_exceptions=True)
        assert [str(fault) for fault in faults] == ["away", "away"]
        return await flights.join("a", {})

    assert asyncio.run(twice()) == "back"


def test_one_who_goes_away_does_not_end_the_read_of_the_others() -> None:
    async def read(key: str, wanted: dict[str, set[str]]) -> str:
        await asyncio.sleep(0.01)
        return key

    async def leave() -> str:
        flights = Flights(read)
        leaver = asyncio.create_task(flights.join("a", {}))
        stayer = asyncio.create_task(flights.join("a", {}))
        await asyncio.sleep(0.001)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        return await stayer

    assert asyncio.run(leave()) == "a"
