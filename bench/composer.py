"""How long the composer's simulator takes to answer one change, over HTTP.

The law it tests: a change of 20 charges with 30 tiers each is on screen within 400 ms.
The browser adds its own wait of 250 ms after the last key.

    make bench-composer args="--changes 40"
"""

from __future__ import annotations

import argparse
import http.cookiejar
import importlib
import re
import statistics
import time
import urllib.parse
import urllib.request
from typing import Any

from bench.frame import Figures, parser, run
from tests import harness

PASSWORD = "correct horse"
Form = list[tuple[str, str]]


class Browser:
    """A signed-in session without a browser."""

    def __init__(self, url: str) -> None:
        """Open no page yet."""
        self.url = url
        self.token = ""
        handler = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(handler)

    def get(self, path: str) -> str:
        """Return a page; its forms are sent with the token that it holds."""
        with self.opener.open(self.url + path, timeout=60) as answer:
            text: str = answer.read().decode()
        found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', text)
        self.token = found[1] if found else self.token
        return text

    def post(self, path: str, form: Form) -> str:
        """Post a form with the token of the session."""
        request = urllib.request.Request(
            self.url + path,
            data=urllib.parse.urlencode(form).encode(),
            headers={"X-CSRFToken": self.token, "Referer": self.url + path},
        )
        with self.opener.open(request, timeout=60) as answer:
            text: str = answer.read().decode()
            return text


def plan_form(charges: int, tiers: int, price: str) -> Form:
    """Return the form of a plan of graduated charges, the last price as given."""
    form: Form = [("currency", "USD")]
    for number in range(1, charges + 1):
        uid = f"c{number}"
        form += [
            ("row", uid),
            (f"{uid}-name", f"Calls of tool {number}"),
            (f"{uid}-key", f"tool-{number}"),
            (f"{uid}-unit", "calls"),
            (f"{uid}-metric", "tool_calls"),
            (f"{uid}-model", "graduated"),
            (f"{uid}-filter_property", "tool"),
            (f"{uid}-filter_values", f"tool-{number}"),
        ]
        for tier in range(1, tiers + 1):
            last = tier == tiers
            form += [
                (f"{uid}-up_to", "" if last else f"{tier * 1000}"),
                (f"{uid}-unit_amount", price if last else f"0.0{99 - tier}"),
                (f"{uid}-flat_amount", ""),
            ]
    return form


def prepare() -> tuple[str, str]:
    """Return the e-mail of an owner and the public id of an empty plan."""
    factories = importlib.import_module("tests.factories")
    models = importlib.import_module("aforo.core.models")
    plans = importlib.import_module("catalog.plans")
    shop = factories.make_shop()
    models.Membership.objects.create(
        tenant=shop.tenant, user=shop.owner, role=models.Role.OWNER
    )
    plan = plans.create_plan(
        product=shop.product, name="Bench", code="bench", actor=shop.owner
    )
    return shop.owner.email, plan.public_id


def measure(running: harness.Instance, options: argparse.Namespace) -> dict[str, Any]:
    """Return how long each change took."""
    email, plan = prepare()
    browser = Browser(running.url)
    browser.get("/login")
    browser.post("/login", [("email", email), ("password", PASSWORD)])
    browser.get(f"/plans/{plan}/edit")
    taken = []
    for change in range(options.changes):
        form = plan_form(options.charges, options.tiers, f"0.00{change + 1}")
        began = time.perf_counter()
        page = browser.post(f"/plans/{plan}/simulate", form)
        taken.append((time.perf_counter() - began) * 1000)
        assert "Customer pays" in page, page[:500]
    ordered = sorted(taken)
    return {
        "charges": options.charges,
        "tiers": options.tiers,
        "changes": len(taken),
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(len(ordered) * 0.95) - 1], 1),
        "max_ms": round(ordered[-1], 1),
    }


def tell(figures: Figures) -> None:
    """Say the figures in words."""
    print(
        f"{figures['charges']} charges × {figures['tiers']} tiers:"
        f" p50 {figures['p50_ms']} ms, p95 {figures['p95_ms']} ms,"
        f" at most {figures['max_ms']} ms a change"
    )


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, changes=40, charges=20, tiers=30).parse_args()
    run(options, measure, tell)


if __name__ == "__main__":
    main()
