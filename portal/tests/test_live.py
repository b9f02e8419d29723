"""The WebSocket of a page."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.sessions import SessionMiddlewareStack
from django.test import Client

from aforo.core.models import Membership, Role, Tenant, User
from portal import live
from portal.consumers import SIGNED_OUT, LiveConsumer
from portal.tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
application = SessionMiddlewareStack(LiveConsumer.as_asgi())


def cookie_of(user: User) -> bytes:
    """Sign the person in and return their cookie header."""
    browser = Client()
    assert browser.login(username=user.email, password=PASSWORD)
    return f"aforo={browser.cookies['aforo'].value}".encode()


async def open_page(cookie: bytes) -> ApplicationCommunicator:
    """Open a page's end of a socket; the door always accepts, to say why it closes."""
    scope = {"type": "websocket", "path": "/ws", "headers": [(b"cookie", cookie)]}
    page = ApplicationCommunicator(application, {**scope, "subprotocols": []})
    await page.send_input({"type": "websocket.connect"})
    answer = await page.receive_output(timeout=5)
    assert answer["type"] == "websocket.accept"
    return page


async def close(page: ApplicationCommunicator) -> None:
    """Leave, as a closed tab does."""
    await page.send_input({"type": "websocket.disconnect", "code": 1001})
    await page.wait(timeout=5)


async def heard(page: ApplicationCommunicator, kind: str) -> dict:
    """Return the next message of a kind."""
    while True:
        message = json.loads((await page.receive_output(timeout=5))["text"])
        if message["kind"] == kind:
            return message


def refused_with(cookie: bytes) -> int:
    """Open a socket and return the code with which it is closed."""

    async def run() -> int:
        page = await open_page(cookie)
        answer = await page.receive_output(timeout=5)
        # A loop that closes under a running consumer can wait for it for ever.
        await close(page)
        return answer["code"]

    return async_to_sync(run)()


def test_staff_hear_what_their_tenant_is_told_and_the_beat(
    tenant: Tenant, olga: User
) -> None:
    async def run() -> list[dict]:
        page = await open_page(await sync_to_async(cookie_of)(olga))
        beat = await heard(page, "beat")
        message = {"kind": "kpi", "values": {"mtd.revenue": "$1.00"}}
        await asyncio.to_thread(live.push, tenant.pk, message)
        kpi = await heard(page, "kpi")
        await close(page)
        return [beat, kpi]

    beat, kpi = async_to_sync(run)()
    assert beat["at"].endswith("+00:00")
    assert kpi["values"] == {"mtd.revenue": "$1.00"}


def test_what_another_tenant_is_told_stays_there(tenant: Tenant, olga: User) -> None:
    async def run() -> dict:
        page = await open_page(await sync_to_async(cookie_of)(olga))
        await heard(page, "beat")
        for receiver, word in ((uuid.uuid4(), "theirs"), (tenant.pk, "ours")):
            message = {"kind": "kpi", "values": {"x": word}}
            await asyncio.to_thread(live.push, receiver, message)
        first = await heard(page, "kpi")
        await close(page)
        return first

    assert async_to_sync(run)()["values"] == {"x": "ours"}


@pytest.mark.parametrize("cookie", [b"", b"aforo=nonsense"])
def test_strangers_are_refused(tenant: Tenant, cookie: bytes) -> None:
    assert refused_with(cookie) == SIGNED_OUT


def test_a_deactivated_member_is_refused(olga: User) -> None:
    cookie = cookie_of(olga)
    Membership.objects.update(is_active=False)
    assert refused_with(cookie) == SIGNED_OUT


def test_a_session_from_before_a_password_change_is_refused(olga: User) -> None:
    cookie = cookie_of(olga)
    olga.set_password("another long one")
    olga.save()
    assert refused_with(cookie) == SIGNED_OUT


def test_a_developer_is_refused(tenant: Tenant, make_member) -> None:
    from billing.models import Customer

    customer = Customer.objects.create(tenant=tenant, name="Acme", currency="USD")
    dev = make_member(Role.VIEWER, "Dev")
    dev.memberships.update(role=Role.DEVELOPER, customer_id=customer.pk)
    assert refused_with(cookie_of(dev)) == SIGNED_OUT


def test_nobody_listening_is_no_fault(tenant: Tenant) -> None:
    live.push(tenant.pk, {"kind": "feed", "items": []})
