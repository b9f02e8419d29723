"""What is sold, what is counted, at what price and at what cost."""

from __future__ import annotations

from catalog.models.costs import CostChange, CostRate
from catalog.models.metrics import Metric
from catalog.models.plans import Plan, PlanVersion
from catalog.models.products import Product, ProductType, Tool, ToolName
from catalog.models.scenarios import UsageScenario

__all__ = [
    "CostChange",
    "CostRate",
    "Metric",
    "Plan",
    "PlanVersion",
    "Product",
    "ProductType",
    "Tool",
    "ToolName",
    "UsageScenario",
]
