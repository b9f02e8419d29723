"""One ASGI front: bare hot doors, WebSockets by Channels, Django for the rest."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aforo.settings")

from django.core.asgi import get_asgi_application

# Fills the app registry, which everything below needs.
get_asgi_application()

from a2wsgi import WSGIMiddleware
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.urls import path

from aforo.wsgi import application as django_application
from guard.front import application as check_door
from guard.front import authz as authz_door
from guard.front import holds as holds_door
from metering.front import application as ingest_door
from metering.front import traces as traces_door
from portal.consumers import LiveConsumer

# What was loaded stays. And a batch of events makes thousands of objects that go with
# it: by the usual counts the collector would look through them several times a request.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Door = Callable[[Scope, Receive, Send], Awaitable[None]]

DOORS: dict[str, Door] = {
    "/v1/check": check_door,
    "/v1/authz": authz_door,
    "/v1/events": ingest_door,
    "/v1/otlp/v1/traces": traces_door,
}
# Doors of more than one address: below authz stands a gateway's own path.
BELOW: dict[str, Door] = {"/v1/authz/": authz_door, "/v1/holds/": holds_door}
# Threads for pages: each holds a database connection while it answers.
pages = WSGIMiddleware(django_application, workers=8)  # type: ignore[arg-type]
sockets = AllowedHostsOriginValidator(
    SessionMiddlewareStack(URLRouter([path("ws", LiveConsumer.as_asgi())]))
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand each connection to the part that answers it."""
    if scope["type"] == "http":
        await _door(scope["path"])(scope, receive, send)
    elif scope["type"] == "websocket":
        await sockets(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)


def _door(path: str) -> Door:
    """Return the part that answers an address."""
    door = DOORS.get(path)
    if door is None:
        below = (BELOW[start] for start in BELOW if path.startswith(start))
        door = next(below, _pages)
    return door


async def _pages(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by Django: a2wsgi waits for coroutines, granian hands out futures."""

    async def hear() -> MutableMapping[str, Any]:
        return await receive()

    await pages(scope, hear, send)  # type: ignore[arg-type]


async def _lifespan(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
