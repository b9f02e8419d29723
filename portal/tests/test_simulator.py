"""The simulator's pages: ask, watch, cancel, read, take along."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import AuditEntry, Role
from billing import accounts, subscriptions
from billing.models import Customer
from catalog import plans
from metering import backtest_jobs
from metering.models import Backtest
from portal.tests.scene import PLAN, Scene, make_scene, sign_in
from tests.factories import make_version

pytestmark = pytest.mark.django_db

PATH = "/simulator"
DEAR: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Dear calls",
            "metric": "tool_calls",
            "unit": "calls",
            "price": {"model": "per_unit", "unit_amount": "40"},
        }
    ],
}


def form(scene: Scene, **more: str) -> dict[str, str]:
    """Return a filled form: the plan in force, in October."""
    return {"plan_a": scene.version.public_id, "month": "2026-10"} | more


def start(scene: Scene, client: Client, **more: str) -> Backtest:
    """Ask for a backtest on the page."""
    answer = client.post(PATH, form(scene, **more))
    made = Backtest.objects.order_by("-id")[0]
    assert (answer.status_code, answer["Location"]) == (302, f"{PATH}/{made.public_id}")
    return made


def text_of(client: Client, path: str) -> str:
    """Return a page."""
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_backtest_is_asked_for_watched_and_read(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    dear = make_version(scene.product, DEAR)
    assert "No backtest yet" in text_of(client, PATH)
    made = start(scene, client, plan_b=dear.public_id)
    path = f"{PATH}/{made.public_id}"
    waiting = text_of(client, path)
    assert 'hx-trigger="every 1s"' in waiting
    assert "0 of 1" in waiting
    assert "Cancel" in waiting
    poll = client.get(path, headers={"HX-Request": "true"})
    assert "HX-Refresh" not in poll
    assert b"<html" not in poll.content
    backtest_jobs.run()
    poll = client.get(path, headers={"HX-Request": "true"})
    assert poll["HX-Refresh"] == "true"
    page = text_of(client, path)
    made.refresh_from_db()
    assert made.result is not None
    own, other = made.result["plans"]
    assert own["difference"] == "0"
    assert own["old"] == own["new"]
    assert scene.customer.name in page
    assert "sum of the rows" in page
    assert f'value="{other["new"]}"' in page
    assert "Bill rises over 20 %" in page
    assert made.requested_by == scene.people["product_manager"]
    opened = text_of(client, f"{path}?customer={scene.customer.public_id}")
    assert "Dear calls" in opened
    assert "Input tokens" in opened
    listed = text_of(client, PATH)
    assert f'href="{path}"' in listed


def test_the_own_plan_gives_the_invoice_of_the_month(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    made = start(scene, client)
    backtest_jobs.run()
    made.refresh_from_db()
    assert made.result is not None
    (own,) = made.result["plans"]
    lines = scene.invoice.lines.order_by("position")
    row = made.rows.get()
    assert row.figures is not None
    assert [line["exact"] for line in row.figures["new"][0]["lines"]] == [
        f"{line.exact_amount.normalize():f}" for line in lines
    ]
    assert Decimal(own["new"]) == scene.invoice.subtotal


def test_the_csv_holds_exactly_the_rows(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    other = accounts.create_customer(tenant=scene.tenant, name="=New", actor=None)
    subscriptions.subscribe(
        customer=other,
        product=scene.product,
        plan_version=scene.version,
        start_at=dt.datetime(2026, 11, 2, tzinfo=dt.UTC),
        actor=None,
    )
    dear = make_version(scene.product, DEAR)
    made = start(scene, client, plan_b=dear.public_id)
    empty = client.get(f"{PATH}/{made.public_id}.csv").content.decode()
    assert len(empty.splitlines()) == 1
    backtest_jobs.run()
    file = client.get(f"{PATH}/{made.public_id}.csv").content.decode()
    rows = {r["customer_id"]: r for r in csv.DictReader(io.StringIO(file))}
    assert len(rows) == 2
    assert rows[other.public_id]["customer"] == "'=New"
    assert rows[other.public_id]["left_out"] == "no subscription in that month"
    row = rows[scene.customer.public_id]
    made.refresh_from_db()
    assert made.result is not None
    assert row["plan_a_bill"] == row["billed"] == made.result["plans"][0]["new"]
    assert row["plan_a_difference"] == "0"
    assert row["plan_b_bill"] == made.result["plans"][1]["new"]
    assert row["flags"] == "Bill rises over 20 %"
    shocked = client.get(f"{PATH}/{made.public_id}.csv?flag=shock").content.decode()
    assert len(shocked.splitlines()) == 2
    nobody = client.get(f"{PATH}/{made.public_id}.csv?flag=turned").content.decode()
    assert len(nobody.splitlines()) == 1
    page = text_of(client, f"{PATH}/{made.public_id}?flag=turned")
    assert "Nobody is affected" in page
    assert "Left out" in text_of(client, f"{PATH}/{made.public_id}?flag=nonsense")


def test_it_is_cancelled_and_run_again(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    names = f"{scene.customer.external_id}, {scene.customer.public_id}"
    made = start(scene, client, customers=names)
    path = f"{PATH}/{made.public_id}"
    client.post(f"{path}/cancel")
    page = text_of(client, path)
    assert "A part of a result is not shown" in page
    again = client.post(f"{path}/cancel", follow=True).content.decode()
    assert "The backtest is cancelled already." in again
    answer = client.post(f"{path}/again")
    second = Backtest.objects.order_by("-id")[0]
    assert answer["Location"] == f"{PATH}/{second.public_id}"
    assert second.pk != made.pk
    assert (second.customer_count, second.all_customers) == (1, False)
    assert second.plans == made.plans
    actions = AuditEntry.objects.filter(action__startswith="backtest.")
    assert sorted(a.action for a in actions) == [
        "backtest.cancelled",
        "backtest.requested",
        "backtest.requested",
    ]


def test_again_takes_a_draft_as_it_is_now(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    plan = plans.create_plan(product=scene.product, name="New", code="n", actor=None)
    draft = plans.save_draft(plan=plan, body=DEAR, limits={}, actor=None)
    made = start(scene, client, plan_a=draft.public_id)
    plans.save_draft(plan=plan, body=PLAN, limits={}, actor=None)
    client.post(f"{PATH}/{made.public_id}/again")
    second = Backtest.objects.order_by("-id")[0]
    assert len(made.plans[0]["body"]["charges"]) == 1
    assert len(second.plans[0]["body"]["charges"]) == 4
    plans.save_draft(plan=plan, body={"currency": "USD"}, limits={}, actor=None)
    refused = client.post(f"{PATH}/{made.public_id}/again", follow=True)
    assert "charges is missing" in refused.content.decode()
    assert Backtest.objects.count() == 2


def test_a_failure_says_what_to_do(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    made = start(scene, client)
    Backtest.objects.filter(pk=made.pk).update(state="failed", failure="ValueError: x")
    page = text_of(client, f"{PATH}/{made.public_id}")
    assert "ValueError: x" in page
    assert "Run again" in page


WRONG = [
    ({"plan_a": ""}, "plan_a", "required"),
    ({"plan_a": "plv_x"}, "plan_a", "plv_x"),
    ({"plan_b": "same"}, "plan_b", "Plan A has this version already"),
    ({"month": ""}, "month", "required"),
    ({"month": "2026-11"}, "month", "2026-11"),
    ({"month": "x"}, "month", "x"),
    ({"product": "prd_x"}, "product", "prd_x"),
    ({"customers": "nobody"}, "customers", "No customer has the id nobody."),
    ({"plan_b": "draft"}, "plan_b", "charges is missing"),
    ({"plan_b": "euro"}, "plan_a", "compare one currency at a time"),
]


@pytest.mark.parametrize(("values", "field", "said"), WRONG)
def test_a_wrong_value_is_refused_next_to_its_field(
    scene: Scene, values: dict[str, str], field: str, said: str
) -> None:
    client = sign_in(scene, Role.OWNER)
    plan = plans.create_plan(product=scene.product, name="New", code="n", actor=None)
    body = {"currency": "USD"}
    draft = plans.save_draft(plan=plan, body=body, limits={}, actor=None)
    euro = make_version(scene.product, {**DEAR, "currency": "EUR"})
    named = {
        "same": scene.version.public_id,
        "draft": draft.public_id,
        "euro": euro.public_id,
    }
    given = form(scene, customers=scene.customer.public_id)
    given |= {name: named.get(value, value) for name, value in values.items()}
    answer = client.post(PATH, given)
    page = answer.content.decode()
    assert answer.status_code == 422
    error = re.search(rf'id="id_{field}_error">(.*?)</p>', page, re.DOTALL)
    assert error is not None, page
    assert said in error.group(1)
    if field != "customers":
        assert scene.customer.public_id in page
    assert not Backtest.objects.exists()


@pytest.mark.parametrize("role", [Role.OPERATIONS, Role.VIEWER, Role.DEVELOPER])
def test_other_roles_are_refused(scene: Scene, role: Role) -> None:
    owner = sign_in(scene, Role.OWNER)
    made = start(scene, owner)
    client = sign_in(scene, role)
    path = f"{PATH}/{made.public_id}"
    assert client.get(PATH).status_code == 403
    assert client.post(PATH, form(scene)).status_code == 403
    assert client.get(path).status_code == 403
    assert client.get(f"{path}.csv").status_code == 403
    assert client.post(f"{path}/cancel").status_code == 403
    assert client.post(f"{path}/again").status_code == 403
    assert Backtest.objects.count() == 1


def test_another_tenants_backtest_is_not_there(scene: Scene) -> None:
    made = start(scene, sign_in(scene, Role.OWNER))
    client = sign_in(make_scene(), Role.OWNER)
    path = f"{PATH}/{made.public_id}"
    for gone in (path, f"{path}.csv", f"{PATH}/bkt_x", f"{PATH}/x.csv"):
        assert client.get(gone).status_code == 404
    assert client.post(f"{path}/cancel").status_code == 404
    assert client.post(f"{path}/again").status_code == 404
    foreign = client.post(PATH, form(scene))
    assert foreign.status_code == 422
    made.refresh_from_db()
    assert made.state == "queued"


def test_only_posts_change_something(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    made = start(scene, client)
    for deed in ("cancel", "again"):
        assert client.get(f"{PATH}/{made.public_id}/{deed}").status_code == 405
    signed_out = Client().get(PATH)
    assert signed_out.status_code == 302


def test_the_address_fills_the_form_in(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    query = f"?version={scene.version.public_id}&customer={scene.customer.public_id}"
    page = text_of(client, PATH + query)
    assert f'value="{scene.version.public_id}" selected' in page
    assert scene.customer.public_id in page
    assert text_of(client, f"{PATH}?version=nonsense&after=x")


def test_without_a_plan_the_page_says_where_to_begin(as_olga: Client) -> None:
    assert "No plan to compare yet" in text_of(as_olga, PATH)


def test_statements_do_not_grow_with_the_rows(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    counts = []
    for number in range(2):
        made = start(scene, client)
        backtest_jobs.run()
        text_of(client, f"{PATH}/{made.public_id}")
        with CaptureQueriesContext(
            connection,
        ) as asked:
            text_of(client, f"{PATH}/{made.public_id}")
        counts.append(len(asked))
        for index in range(3):
            customer = accounts.create_customer(
                tenant=scene.tenant, name=f"More {number} {index}", actor=None
            )
            subscriptions.subscribe(
                customer=customer,
                product=scene.product,
                plan_version=scene.version,
                start_at=dt.datetime(2026, 11, 2, tzinfo=dt.UTC),
                actor=None,
            )
    assert Customer.objects.filter(tenant=scene.tenant).count() == 7
    assert counts[0] == counts[1]
