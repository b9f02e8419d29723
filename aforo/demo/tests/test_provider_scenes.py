"""Each provider's block of the demo says the same of the call."""

from __future__ import annotations

import datetime as dt

from aforo.demo.provider_scenes import PROVIDERS, ROUNDS, providers
from metering import normalize

END = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
COUNTED = ("input_tokens", "cache_read_tokens", "output_tokens")


def test_every_provider_reports_the_same_call() -> None:
    calls = list(providers("ten", END))
    assert len(calls) == ROUNDS * len(PROVIDERS)
    for call in calls:
        assert "measurements" not in call.event
        reading = normalize.read(call.event["usage"])
        assert reading.flags == ()
        figures = {name: reading.measurements[name] for name in COUNTED}
        assert figures == call.estimate
    assert {c.event["properties"]["provider"] for c in calls} == {
        "anthropic",
        "openai",
        "google",
        "aws",
    }
