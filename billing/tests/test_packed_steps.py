"""The database reads packed steps as Python does."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings

from aforo.lib.money import plain
from catalog.pricing import Line, pack_steps
from catalog.pricing.lines import steps_to_json
from catalog.tests.test_pricing_packed import lines

pytestmark = pytest.mark.django_db


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines())
def test_the_database_reads_steps_as_python_does(line: Line) -> None:
    with connection.cursor() as cursor:
        for packed in (pack_steps(line), json.dumps(steps_to_json(line.steps))):
            cursor.execute(
                "SELECT step::text FROM aforo_steps(%s::jsonb, %s, %s) AS step",
                [packed, Decimal(plain(line.quantity)), line.amount],
            )
            found = [json.loads(text) for (text,) in cursor.fetchall()]
            assert found == steps_to_json(line.steps)
