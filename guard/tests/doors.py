"""Both doors of the guard behind one call, so that one test holds for each."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.test import Client

from guard import door, front, stores


@dataclass(frozen=True)
class Reply:
    """What a door answered."""

    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


CHECK = "/v1/check"


def bare_application(path: str) -> Any:
    """Return the part of the ASGI front that answers an address."""
    if path == CHECK:
        return front.application
    return front.authz if path.startswith("/v1/authz") else front.holds


class Door(Protocol):
    """One way to reach the guard."""

    def send(
        self,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        query: str,
        path: str = CHECK,
    ) -> Reply:
        """Send a request as it stands."""

    def disconnect(self) -> None:
        """Let the next request connect anew."""


class BareDoor:
    """The ASGI application itself, on an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def disconnect(self) -> None:
        """Let the next request connect anew."""
        driver = front._drivers.pop(self.loop, None)
        if driver is not None:
            driver.close()
            # The transport closes in the loop's next turn.
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        """End the loop and what runs on it."""
        self.disconnect()
        self.loop.close()

    def send(
        self,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        query: str,
        path: str = CHECK,
    ) -> Reply:
        return self.loop.run_until_complete(
            self._send(method, body, headers, query, path)
        )

    async def _send(
        self,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        query: str,
        path: str,
    ) -> Reply:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in headers.items()
            ],
            "client": ("10.1.2.3", 5000),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await bare_application(path)(scope, receive, send)
        start, rest = sent
        names = {k.decode(): v.decode("latin-1") for k, v in start["headers"]}
        return Reply(start["status"], names, rest["body"])


class DjangoDoor:
    """The view, through Django's whole stack."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

    def disconnect(self) -> None:
        """Let the next request connect anew."""
        stores.for_checks().close()
        stores.for_checks.cache_clear()
        door.blocking.cache_clear()

    def close(self) -> None:
        """End the connections."""
        self.disconnect()

    def send(
        self,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        query: str,
        path: str = CHECK,
    ) -> Reply:
        content_type = headers.get("Content-Type", "")
        rest = {k: v for k, v in headers.items() if k != "Content-Type"}
        answer = self.client.generic(
            method,
            f"{path}?{query}" if query else path,
            body,
            content_type=content_type,
            headers=rest,
            # The client leaves it out when the body is empty.
            CONTENT_TYPE=content_type,
            REMOTE_ADDR="10.1.2.3",
        )
        names = {name.lower(): value for name, value in answer.items()}
        return Reply(answer.status_code, names, answer.content)


def basic(client_id: str, secret: str) -> str:
    """Return the header of a client id and its secret."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@dataclass
class Asker:
    """Asks a door as one caller."""

    door: Door
    authorization: str

    def raw(
        self,
        body: bytes,
        *,
        method: str = "POST",
        query: str = "",
        **headers: str | None,
    ) -> Reply:
        """Send bytes; header names with _ for -; None leaves a header out."""
        named: dict[str, str | None] = {
            "Content-Type": "application/json",
            "Authorization": self.authorization or None,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        kept = {k: v for k, v in named.items() if v is not None}
        return self.door.send(method, body, kept, query)

    def ask(self, **members: Any) -> Reply:
        """Send members as JSON."""
        return self.raw(json.dumps(members).encode())

    def authz(
        self,
        *,
        method: str = "GET",
        query: str = "",
        below: str = "",
        body: bytes = b"",
        **headers: str | None,
    ) -> Reply:
        """Forward a request's headers, names with _ for -; `below` is its path."""
        named = {"Authorization": self.authorization or None} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        kept = {name: value for name, value in named.items() if value is not None}
        return self.door.send(method, body, kept, query, f"/v1/authz{below}")

    def release(self, name: str = "", **members: Any) -> Reply:
        """Void the hold with an id, or of a request_id among the members."""
        headers = {
            "Authorization": self.authorization,
            "Content-Type": "application/json",
        }
        path = f"/v1/holds/{name}/release" if name else "/v1/holds/release"
        body = json.dumps(members).encode() if members else b""
        return self.door.send("POST", body, headers, "", path)
