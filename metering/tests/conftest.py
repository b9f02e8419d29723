"""A seller with two customers, and both doors of the ingest API."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.test import Client

from aforo.core import service_keys
from aforo.core.models import Tenant
from aforo.lib import ids
from billing import accounts, credentials
from billing.models import Agent, Credential, Customer, Team
from catalog.models import Metric, Product, ProductType
from metering import directory, front, pool
from metering.background import background
from metering.models import UsageEvent

_number = count(1)


@dataclass
class Seller:
    """A tenant, its service key, and a customer with one agent and its key."""

    tenant: Tenant
    service_key: str
    customer: Customer
    team: Team
    agent: Agent
    product: Product
    credential: Credential
    secret: str

    @property
    def authorization(self) -> str:
        """The header of the tenant's gateway."""
        return f"Bearer {self.service_key}"

    def event(self, **members: Any) -> dict[str, Any]:
        """A compound event of the customer; None leaves a member out."""
        made = {
            "eventType": "llm.completion",
            "customerId": self.customer.external_id,
            "correlationId": "c-1",
            "measurements": [{"metricKey": "input_tokens", "value": 10}],
        }
        made |= members
        return {name: value for name, value in made.items() if value is not None}

    def tool(self, **members: Any) -> dict[str, Any]:
        """A tool event of the agent; None leaves a member out."""
        made = {"api_key": self.secret, "tool_name": "read_query"}
        made |= members
        return {name: value for name, value in made.items() if value is not None}

    def stored(self) -> list[UsageEvent]:
        """The tenant's events in the order in which they were stored."""
        return list(UsageEvent.objects.filter(tenant=self.tenant).order_by("id"))


@pytest.fixture
def make_seller(transactional_db: None) -> Callable[..., Seller]:
    """Make sellers that share nothing."""

    def make(*, self_reporting: bool = False) -> Seller:
        directory.forget()
        number = next(_number)
        tenant = Tenant.objects.create(name=f"Seller {number}")
        customer = accounts.create_customer(
            tenant=tenant, name="Acme", actor=None, external_id="cust_abc"
        )
        team = accounts.create_team(customer=customer, name="Core", actor=None)
        product = Product.objects.create(
            tenant=tenant,
            name="Toolkit",
            code="toolkit",
            type=ProductType.STANDARD_API,
            self_reporting=self_reporting,
        )
        agent = accounts.create_agent(
            team=team,
            name="Robin",
            kind=Agent.Kind.APP,
            actor=None,
            external_id="agent-7",
        )
        credential, secret = credentials.issue(
            agent=agent, products=[product], actor=None
        )
        _, service_key = service_keys.issue(
            tenant=tenant, name="Gateway", scopes=["ingest"], actor=None
        )
        Metric.objects.create(
            tenant=tenant,
            code="documents",
            name="Documents",
            aggregation="sum",
            field="scans",
            unit="scan",
            integer_only=True,
        )
        return Seller(
            tenant, service_key, customer, team, agent, product, credential, secret
        )

    return make


@pytest.fixture
def seller(make_seller: Callable[..., Seller]) -> Seller:
    """One seller of the test's own."""
    return make_seller()


@dataclass
class Reply:
    """What a door answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str]:
        """The status, and the code of a problem or the status of an event."""
        return self.status, self.json.get("code") or self.json.get("status", "")


class Door:
    """Sends requests to POST /v1/events by one of its two ways."""

    def send(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        query: str = "",
    ) -> Reply:
        """Send a request as it is given."""
        raise NotImplementedError

    def post(self, seller: Seller, value: Any, **headers: str) -> Reply:
        """Send JSON as the seller's gateway."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        named = {
            "content-type": "application/json",
            "authorization": seller.authorization,
        }
        named |= {k.replace("_", "-"): v for k, v in headers.items()}
        return self.send(body, named)


async def call_bare(
    body: bytes,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    query: str = "",
    application: Any = front.application,
) -> Reply:
    """Call a bare ASGI application with one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "/v1/events",
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    await application(scope, receive, send)
    start, end = sent
    named = {k.decode(): v.decode() for k, v in start["headers"]}
    return Reply(start["status"], named, end["body"])


class BareDoor(Door):
    """The ASGI application itself, in one event loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        """Use the loop of a runner."""
        self.runner = runner

    def send(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        query: str = "",
    ) -> Reply:
        """Send a request as it is given."""
        call = call_bare(body, headers, method=method, query=query)
        return self.runner.run(call, context=contextvars.copy_context())


class DjangoDoor(Door):
    """The view behind Django's own handler."""

    def send(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        query: str = "",
    ) -> Reply:
        """Send a request as it is given."""
        named = dict(headers)
        content_type = named.pop("content-type", "")
        answer = Client(raise_request_exception=False).generic(
            method,
            "/v1/events",
            body,
            headers=named,
            CONTENT_TYPE=content_type,
            QUERY_STRING=query,
        )
        named = {k.lower(): v for k, v in answer.headers.items()}
        return Reply(answer.status_code, named, answer.content)


@pytest.fixture
def runner(transactional_db: None) -> Iterator[asyncio.Runner]:
    """An event loop whose connections are closed at the end."""
    with asyncio.Runner() as running:
        yield running
        running.run(pool.close())
        background.run(pool.close())


@pytest.fixture
def bare(runner: asyncio.Runner) -> Door:
    """The bare door."""
    return BareDoor(runner)


@pytest.fixture(params=["bare", "django"])
def door(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Door:
    """Each door in turn."""
    return BareDoor(runner) if request.param == "bare" else DjangoDoor()


def public(row: Any) -> str:
    """Return the outside form of a row's id."""
    return ids.public(row.public_prefix, row.pk)
