"""What agents and teams that have a spend cap were charged in a period."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Final, NamedTuple

from aforo.lib import sql

# Amounts as they were posted, corrections too: what the ledger's entries of the agent
# add up to, less what holds for a plan as a whole. Only what the agent's own customer
# pays, in its currency; in one order, so that the same spend is the same answer.
SPENDS: Final = """
WITH posted AS (
  SELECT t.customer_id, a.id AS agent_id, a.team_id, a.spend_cap AS agent_cap,
    m.spend_cap AS team_cap, (c.value->>1)::numeric AS amount
  FROM billing_agenttotal t
  JOIN billing_customer o ON o.id = t.customer_id AND o.currency = t.currency
  JOIN billing_agent a ON a.id = t.agent_id AND a.customer_id = t.customer_id
  JOIN billing_team m ON m.id = a.team_id
  CROSS JOIN LATERAL jsonb_each(t.charges) c
  WHERE t.period_id = ANY(%b)
    AND (a.spend_cap IS NOT NULL OR m.spend_cap IS NOT NULL)
)
SELECT customer_id, 'agt', agent_id, sum(amount) FROM posted
WHERE agent_cap IS NOT NULL GROUP BY customer_id, agent_id
UNION ALL
SELECT customer_id, 'tem', team_id, sum(amount) FROM posted
WHERE team_cap IS NOT NULL GROUP BY customer_id, team_id
ORDER BY 3
"""


class Spend(NamedTuple):
    """What was charged for the usage of one agent or of one team's agents."""

    customer_id: uuid.UUID
    prefix: str  # agt or tem
    subject_id: uuid.UUID
    amount: Decimal


def of_capped(periods: Collection[uuid.UUID]) -> list[Spend]:
    """Return what agents and teams with a cap spent in periods; one statement.

    Who spent nothing is not in it.
    """
    with sql.cursor() as cursor:
        rows = cursor.execute(SPENDS, [list(periods)]).fetchall()
    return [Spend(*row) for row in rows]
