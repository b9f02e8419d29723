"""Which month the simulator prices: dated discounts hold in some and not in others."""

from __future__ import annotations

import datetime as dt
import re

from aforo.lib import clock
from portal.selectors.figures import Span

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)


class AsOf:
    """The month that was typed, a customer's month, or the one under way in UTC."""

    def __init__(self, typed: str, measured: Span | None) -> None:
        """Read what was typed; a customer's measured month goes before it."""
        self.problems: dict[str, str] = {}
        text = typed.strip()
        if measured is not None:
            self.starts_on = measured.start.date()
        elif _MONTH.fullmatch(text) and text >= "1000":
            self.starts_on = dt.date.fromisoformat(f"{text}-01")
        else:
            self.starts_on = clock.now().astimezone(dt.UTC).date().replace(day=1)
            if text:
                message = f"{text[:20]} is no month. Type year-month, such as 2026-11."
                self.problems["as_of"] = message
        self.text = text if self.problems else f"{self.starts_on:%Y-%m}"
