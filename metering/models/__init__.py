"""What was used: events, sessions, their cost and the sums of both."""

from __future__ import annotations

from metering.models.backfills import Backfill, BackfillPart
from metering.models.backtests import Backtest, BacktestRow
from metering.models.cost_runs import CostRun, CostRunRow
from metering.models.costs import CostBasis, CostFact
from metering.models.events import EventConflict, PendingEvents, Unrateable, UsageEvent
from metering.models.rollups import UsageRollup
from metering.models.saved_views import SavedView
from metering.models.sessions import ImplicitSession, Session
from metering.models.velocity import ToolPace
from metering.models.voids import EventVoid

__all__ = [
    "Backfill",
    "BackfillPart",
    "Backtest",
    "BacktestRow",
    "CostBasis",
    "CostFact",
    "CostRun",
    "CostRunRow",
    "EventConflict",
    "EventVoid",
    "ImplicitSession",
    "PendingEvents",
    "SavedView",
    "Session",
    "ToolPace",
    "Unrateable",
    "UsageEvent",
    "UsageRollup",
]
