"""A caller of the catalog API, and what it sends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from aforo.core import service_keys
from catalog.models import Plan
from tests.factories import TOKENS_PLAN, Shop

METRIC = {
    "code": "pages",
    "name": "Pages",
    "aggregation": "sum",
    "field": "pages",
    "unit": "page",
}
PRODUCT = {"code": "travel", "name": "Travel", "type": "MCP_SERVER"}
DRAFT = {"currency": "USD", "charges": TOKENS_PLAN["charges"]}


@dataclass(slots=True)
class Reply:
    """An answer of the API."""

    status: int
    json: Any
    headers: Any

    @property
    def refusal(self) -> tuple[int, str, str | None]:
        """Status, code and field of a refusal."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["type"].endswith(self.json["code"])
        assert self.json["detail"]
        return self.status, self.json["code"], self.json.get("field")


@dataclass(slots=True)
class Caller:
    """A system of the tenant that calls with a key."""

    shop: Shop
    secret: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; a body that is no bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {k.replace("_", "-"): v for k, v in headers.items()}
        kind = given.pop("Content-Type", "application/json")
        if self.secret:
            given = {"Authorization": f"Bearer {self.secret}"} | given
        answer = Client(raise_request_exception=False).generic(
            method,
            f"/v1/{path}",
            b"" if body is None else raw,
            content_type=kind,
            headers=given,
        )
        return Reply(answer.status_code, json.loads(answer.content), answer.headers)


def make_caller(shop: Shop, *scopes: str) -> Caller:
    """Return a caller whose key has the scopes."""
    _, secret = service_keys.issue(
        tenant=shop.tenant, name="deploy", scopes=scopes, actor=None
    )
    return Caller(shop, secret)


def plan_of(api: Caller) -> Plan:
    """Return the shop's plan."""
    return Plan.objects.get(tenant=api.shop.tenant)


WRITES = [
    ("POST", "products"),
    ("PATCH", "products/{product}"),
    ("POST", "metrics"),
    ("PATCH", "metrics/input_tokens"),
    ("POST", "plans"),
    ("PATCH", "plans/{plan}"),
    ("PUT", "plans/{plan}/draft"),
    ("POST", "plans/{plan}/versions/1/publish"),
    ("POST", "plans/{plan}/versions/1/retire"),
]
READS = [
    "products",
    "products/{product}",
    "metrics",
    "metrics/input_tokens",
    "plans",
    "plans/{plan}",
    "plans/{plan}/versions",
    "plans/{plan}/versions/1",
]


def filled(path: str, shop: Shop) -> str:
    """Return an address of a shop's rows."""
    plan = shop.version.plan
    return path.format(product=shop.product.public_id, plan=plan.public_id)
