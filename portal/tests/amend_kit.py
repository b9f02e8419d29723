"""What the tests of amending share: a shop, its calls, and the boxes of the form."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.utils.html import strip_tags

from aforo.management.commands.verify import breaks
from metering import pipeline
from metering.models import UsageEvent
from portal.tests.scene import event_path
from tests.factories import Shop, add_cost, make_shop, store_event

COSTS = {"input_uncached_tokens": "0.000001", "output_tokens": "0.000004"}


def priced_shop() -> Shop:
    """A shop whose costs are known; input $3, output $15 and then $12 a million."""
    made = make_shop()
    for unit, amount in COSTS.items():
        add_cost(made.tenant, model="gpt-4o", unit=unit, amount=amount)
    return made


def store(shop: Shop, **more: Any) -> UsageEvent:
    """Store and rate a call of 1,000 tokens in and 100 out: $0.0045."""
    values: dict[str, Any] = {
        "event_id": "call-7",
        "correlation_id": "work-1",
        "session_key": "run-1",
        "request_id": "req-1",
        "properties": {"model": "gpt-4o", "region": "eu"},
        **more,
    }
    measured = values.pop("measurements", {"input_tokens": 1000, "output_tokens": 100})
    event = store_event(shop, measured, **values)
    pipeline.rate()
    return event


def boxes(client: Client, event: UsageEvent) -> dict[str, str]:
    """Return what the form has, as a browser would send it."""
    form = client.get(f"{event_path(event)}/amend").context["form"]
    found = {name: form[name].value() for name in form.fields}
    return {name: "" if text is None else str(text) for name, text in found.items()}


def change(sent: dict[str, str], name: str, value: str) -> dict[str, str]:
    """Return the boxes with another value of a measurement or property."""
    key = next(k for k, text in sent.items() if k.endswith("-name") and text == name)
    return {**sent, key.replace("-name", "-value"): value, "reason": "a digit too many"}


def preview(client: Client, event: UsageEvent, sent: dict[str, str]) -> Any:
    """Ask what it changes."""
    return client.post(f"{event_path(event)}/amend", {**sent, "do": "preview"})


def confirm(client: Client, event: UsageEvent, sent: dict[str, str], seen: Any) -> Any:
    """Confirm what was seen."""
    digest = seen.context["weighed"].digest
    form = {**sent, "do": "amend", "typed": "amend", "seen": digest}
    return client.post(f"{event_path(event)}/amend", form)


def words(page: Any) -> str:
    """Return the text of a page."""
    return re.sub(r"\s+", " ", strip_tags(page.content.decode()))


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}
