"""What gateways ask on a running instance, over connections that they keep open.

In one process the tests own every row and choose the door; here the server picks it by
the address, and row-level security decides what it finds of a customer that is cold.
"""

from __future__ import annotations

import http.client
import urllib.parse
import uuid
from collections.abc import Iterator

import pytest

from aforo.lib import ids
from tests.scenarios import stage as scene
from tests.scenarios.stage import Shop, Stage

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
LIMITS = {
    "spend_cap": "25.00",
    "estimate": {"input_tokens": "0.000003"},
    "default_estimate": "0.01",
}
# A busy machine must not turn a test of answers into one of outages.
PATIENT = {"AFORO_GUARD_TIMEOUT_MS": "5000", "AFORO_GUARD_LOOKUP_MS": "5000"}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    shops = [{"limits": LIMITS}] * 2
    with scene.opened(*shops, **PATIENT) as running:
        yield running


@pytest.fixture
def link(stage: Stage) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(
        urllib.parse.urlsplit(stage.instance.url).netloc, timeout=30
    )
    yield made
    made.close()


def ask(
    link: http.client.HTTPConnection,
    shop: Shop,
    method: str = "GET",
    path: str = "/v1/authz",
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, dict[str, str]]:
    named = {
        "X-Aforo-Service-Key": shop.service_secret,
        "X-Aforo-Customer-Id": shop.external_id,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    link.request(method, path, body, named)
    answer = link.getresponse()
    answer.read()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}


def test_gateways_ask_and_release_over_one_connection(
    stage: Stage, link: http.client.HTTPConnection
):
    shop, other = stage.shop(), stage.shop()
    stage.redis().flushdb()  # Cold: what follows is found under row-level security.

    status, headers = ask(link, shop, X_Aforo_Estimate="25")
    assert (status, headers["x-aforo-customer-id"]) == (
        200,
        ids.public("cus", uuid.UUID(shop.customer_id)),
    )
    assert headers["x-aforo-throttle"] == ""
    socket = link.sock
    # Envoy keeps method, path and body of the request.
    for method in ("POST", "PUT", "DELETE"):
        status, told = ask(link, shop, method, "/v1/authz/v1/chat?x=1", b"x" * 60_000)
        assert (status, "retry-after" in told) == (429, True)
    assert ask(link, shop, path="/v1/authz?deny=403")[0] == 403
    assert ask(link, shop, X_Aforo_Customer_Id=other.external_id)[0] == 403
    assert link.sock is socket

    path = f"/v1/holds/{headers['x-aforo-hold-id']}/release"
    assert stage.call(path, other.service_secret, {}).status == 404
    for again in (False, True):
        reply = stage.call(path, shop.service_secret, {})
        assert (reply.status, reply.json["already_released"]) == (200, again)
    by_request = {"customer_id": shop.external_id, "request_id": "absent"}
    reply = stage.call("/v1/holds/release", shop.service_secret, by_request)
    assert reply.status == 404
    assert ask(link, shop)[0] == 200
