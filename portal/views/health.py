"""Is everything that a page needs there?"""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

TIMEOUT_S = 1


def database_answers() -> bool:
    """Tell whether Postgres answers a query."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def redis_answers() -> bool:
    """Tell whether the guard's Redis answers."""
    client = redis.Redis.from_url(
        settings.GUARD_REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database and Redis answer, else 503, and the version."""
    found = {"database": database_answers(), "redis": redis_answers()}
    healthy = all(found.values())
    words = {name: "ok" if up else "down" for name, up in found.items()}
    return JsonResponse(
        {"status": "ok" if healthy else "down", **words, "version": settings.VERSION},
        status=200 if healthy else 503,
    )
