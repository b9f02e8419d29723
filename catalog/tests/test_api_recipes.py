"""Recipes through the catalog API: the same plan JSON, and the same words."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.api import schema
from catalog.models import PlanVersion
from catalog.tests.api_kit import Caller, filled
from catalog.tests.recipe_kit import CREDITS, charge_of

pytestmark = pytest.mark.django_db


def draft(**more: Any) -> dict[str, Any]:
    """Return a draft of credits."""
    return {"currency": "USD", "charges": [charge_of({**CREDITS, **more})]}


def test_a_recipe_is_saved_published_and_said_in_words(api: Caller) -> None:
    address = filled("plans/{plan}", api.shop)
    saved = api.ask("PUT", f"{address}/draft", draft(markup_percent="20"))
    assert saved.status == 200
    number = saved.json["number"]
    done = api.ask("POST", f"{address}/versions/{number}/publish")
    assert done.status == 200
    assert done.json["charges"] == [charge_of({**CREDITS, "markup_percent": "20"})]
    assert "1.2 credits per 1K input tokens" in done.json["summary"]
    assert "recipe" in schema.DRAFT["properties"]["charges"]["description"]


@pytest.mark.parametrize(
    ("more", "code", "path"),
    [
        ({"weights": []}, "empty", "weights"),
        ({"rounding": "sideways"}, "unknown_choice", "rounding"),
        ({"markup_percent": "1.23456"}, "too_precise", "markup_percent"),
    ],
)
def test_a_wrong_recipe_is_refused_when_it_is_published(
    api: Caller, more: dict[str, Any], code: str, path: str
) -> None:
    address = filled("plans/{plan}", api.shop)
    saved = api.ask("PUT", f"{address}/draft", draft(**more))
    assert saved.status == 200
    done = api.ask("POST", f"{address}/versions/{saved.json['number']}/publish")
    assert done.refusal == (422, code, f"charges[0].price.{path}")
    assert PlanVersion.objects.get(number=saved.json["number"]).state == "draft"
