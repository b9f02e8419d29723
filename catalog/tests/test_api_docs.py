"""docs/catalog-api.md names every address and every code of the API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aforo.core.models import ServiceKey
from catalog.api import urls

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "catalog-api.md").read_text()
SOURCES = """catalog/api/reading.py catalog/api/base.py catalog/api/plan_views.py
catalog/products.py catalog/checks.py catalog/plans.py catalog/limits.py
aforo/core/idempotency.py aforo/core/service_calls.py""".split()


@pytest.mark.parametrize("source", SOURCES)
def test_every_code_is_documented(source: str) -> None:
    code = (ROOT / source).read_text()
    raised = re.findall(r'(?:bad|AforoError)\(\s*"([a-z_0-9]+)"', code)
    assert raised
    assert [c for c in raised if f"`{c}`" not in TEXT] == []


def test_every_address_is_documented() -> None:
    for pattern in urls.urlpatterns:
        path = str(pattern.pattern).replace("<str:name>", "{id or code}")
        path = path.replace("<int:number>", "{number}")
        assert f"/v1/{path}`" in TEXT


def test_both_scopes_are_documented() -> None:
    scopes = [s for s in ServiceKey.SCOPES if s.startswith("catalog:")]
    assert scopes == ["catalog:read", "catalog:write"]
    assert all(f"`{scope}`" in TEXT for scope in scopes)
