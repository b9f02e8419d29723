"""Who calls the catalog API in the tests."""

from __future__ import annotations

import pytest

from catalog.tests.api_kit import Caller, make_caller
from tests.factories import Shop, make_shop


@pytest.fixture
def api(db: None) -> Caller:
    """A caller who may do everything here."""
    return make_caller(make_shop(), "catalog:read", "catalog:write")


@pytest.fixture
def theirs(db: None) -> Shop:
    """Another tenant."""
    return make_shop()
