"""The WebSocket of a page: one per tab, for signed-in staff, read-only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from typing import Any

import redis
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare

from aforo.core.models import Membership, User
from aforo.core.roles import STAFF
from aforo.core.tenancy import SESSION_KEY, as_web
from aforo.lib import clock
from portal import live

# Pages call their figures stale after 10 s of silence.
BEAT_S = 3
# How often a socket asks again whether its person may still look.
CHECK_S = 30
# Close codes of ours: the page asks again after the second, not after the first.
SIGNED_OUT, TRY_AGAIN = 4401, 4503

log = logging.getLogger(__name__)


def tenant_of(session: Any) -> uuid.UUID | None:
    """Return the tenant whose pages the session may watch, or None.

    The same rules as a request: a valid session hash, an active person, an active
    staff membership, the tenant that was chosen or else the first.
    """
    if not session.get(BACKEND_SESSION_KEY):
        return None
    with as_web(tenant_id=None):
        try:
            user = User.objects.filter(pk=session.get(USER_KEY), is_active=True).first()
        except ValidationError:
            return None
        if user is None or not constant_time_compare(
            session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
        ):
            return None
    with as_web(tenant_id=None, user_id=user.pk):
        found = list(
            Membership.objects.filter(user=user, is_active=True).order_by("created_at")
        )
    if not found:
        return None
    wanted = session.get(SESSION_KEY)
    chosen = next((m for m in found if str(m.tenant_id) == wanted), found[0])
    return chosen.tenant_id if chosen.role in STAFF else None


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Hands a tenant's messages to a page and beats so that it knows we are here."""

    group = ""
    beating: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Let staff in; the group comes from the session, never from the page."""
        tenant_id = await self._tenant()
        # Accepted first, so that the page gets our close code and knows why.
        await self.accept()
        if tenant_id is None:
            await self.close(code=SIGNED_OUT)
            return
        try:
            await self.channel_layer.group_add(live.group(tenant_id), self.channel_name)
        except (redis.RedisError, OSError):
            await self.close(code=TRY_AGAIN)
            return
        self.group = live.group(tenant_id)
        self.beating = asyncio.create_task(self._beat(tenant_id))

    async def _tenant(self) -> uuid.UUID | None:
        """Return the tenant of the page's session, read anew."""
        session = self.scope["session"]

        def read() -> uuid.UUID | None:
            # A fresh copy: a sign-out in another tab must be seen here.
            return tenant_of(type(session._wrapped)(session.session_key))

        # The lazy session of the scope is made when it is first asked.
        await database_sync_to_async(lambda: session.get(USER_KEY))()
        found: uuid.UUID | None = await database_sync_to_async(read)()
        return found

    async def _beat(self, tenant_id: uuid.UUID) -> None:
        """Beat, and leave when the person may no longer look."""
        waited = 0
        while True:
            at = clock.now().isoformat(timespec="seconds")
            await sync_to_async(live.watch)(tenant_id)
            await self.send(text_data=json.dumps({"kind": "beat", "at": at}))
            await asyncio.sleep(BEAT_S)
            waited += BEAT_S
            if waited >= CHECK_S:
                waited = 0
                if await self._tenant() != tenant_id:
                    await self.close(code=SIGNED_OUT)
                    return

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if self.beating is not None:
            self.beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.beating
        if self.group:
            with contextlib.suppress(redis.RedisError, OSError):
                await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Ignore what the page says: the socket only tells."""

    async def live_message(self, event: dict[str, Any]) -> None:
        """Hand one message on."""
        await self.send(text_data=event["text"])
