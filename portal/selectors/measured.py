"""What was measured over a span, by the measurement's name, beside the span before."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from aforo.lib.invariants import rows as sql_rows
from aforo.lib.money import ZERO
from metering.models import UsageRollup
from portal.selectors.analytics import Choice
from portal.selectors.figures import change


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement over the span and the one before."""

    name: str
    now: Decimal
    before: Decimal

    @property
    def change(self) -> Decimal | None:
        """The relative change."""
        return change(self.now, self.before)


MEASURED = """
SELECT m.name, sum(m.quantity) FROM metering_usagerollup r,
  LATERAL (
    SELECT key AS name, value::numeric AS quantity FROM jsonb_each_text(r.more)
    UNION ALL VALUES ('input_tokens', r.input_tokens::numeric),
      ('output_tokens', r.output_tokens), ('cache_read_tokens', r.cache_read_tokens)
  ) AS m
WHERE r.id = ANY(%(ids)s) AND m.quantity <> 0 GROUP BY 1
"""


def measured(choice: Choice) -> list[Measured]:
    """Return what was measured, the measurements by name; four statements."""
    sums = []
    for span in (choice.span, choice.before):
        rows = UsageRollup.objects.filter(choice.where(span))
        keys = list(rows.values_list("pk", flat=True))
        sums.append(dict(sql_rows(MEASURED, ids=keys)) if keys else {})
    now, before = sums
    return [
        Measured(name, now.get(name, ZERO), before.get(name, ZERO))
        for name in sorted({*now, *before})
    ]
