"""Prices in further currencies through the catalog API: as the composer takes them."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.tests.api_kit import DRAFT, make_caller
from tests.factories import make_shop

pytestmark = pytest.mark.django_db
EUR: dict[str, Any] = {row["key"]: {"price": row["price"]} for row in DRAFT["charges"]}


def draft(**currencies: Any) -> dict[str, Any]:
    """Return a draft that is sold in further currencies."""
    return {
        **DRAFT,
        "currencies": {code: {"charges": said} for code, said in currencies.items()},
    }


@pytest.fixture
def api():
    """A system that may change plans."""
    caller = make_caller(make_shop(), "catalog:read", "catalog:write")
    product = caller.shop.product.code
    body = {"code": "pro", "name": "Pro", "product": product}
    assert caller.ask("POST", "plans", body).status == 201
    return caller


def test_a_draft_with_further_currencies_is_kept_published_and_shown(api):
    saved = api.ask("PUT", "plans/pro/draft", draft(EUR=EUR))
    assert saved.status == 200
    assert saved.json["currencies"] == {"EUR": {"charges": EUR}}
    published = api.ask("POST", "plans/pro/versions/1/publish")
    assert published.status == 200
    shown = published.json["currencies"]["EUR"]["charges"]
    assert shown.keys() == EUR.keys()
    assert shown["input"]["price"]["unit_amount"] == "3"
    plain = api.ask("PUT", "plans/pro/draft", DRAFT)
    assert plain.json["currencies"] == {}


def test_what_is_missing_is_refused_with_its_path_when_publishing(api):
    some = {key: EUR[key] for key in ("input", "calls")}
    assert api.ask("PUT", "plans/pro/draft", draft(EUR=some)).status == 200
    refused = api.ask("POST", "plans/pro/versions/1/publish")
    assert refused.refusal == (422, "missing_price", "currencies.EUR.charges")
    assert refused.json["detail"] == "no price in EUR for output"


def test_a_currency_of_another_form_is_refused_when_publishing(api):
    body = {**DRAFT, "currencies": {"EUR": {"prices": {}}}}
    assert api.ask("PUT", "plans/pro/draft", body).status == 200
    refused = api.ask("POST", "plans/pro/versions/1/publish")
    assert refused.refusal == (422, "missing_key", "currencies.EUR")
    malformed = api.ask("PUT", "plans/pro/draft", {**DRAFT, "currencies": "EUR"})
    assert malformed.refusal == (400, "wrong_type", "currencies")
