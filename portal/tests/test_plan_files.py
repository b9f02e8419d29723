"""Versions as JSON: what is exported can be imported, what is wrong says where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from aforo.core.models import Role
from catalog import plans
from catalog.models import PlanVersion
from portal.plan_forms import DOCUMENT_MAX
from portal.tests.scene import PLAN, Scene, sign_in
from portal.tests.test_plans import path

pytestmark = pytest.mark.django_db


def read(scene: Scene, **fields: Any) -> Any:
    """Post the import form."""
    return sign_in(scene, Role.PRODUCT_MANAGER).post(path(scene, "/import"), fields)


def made(scene: Scene) -> PlanVersion | None:
    """Return the plan's draft."""
    return PlanVersion.objects.filter(plan=scene.version.plan, state="draft").first()


def document(**more: Any) -> str:
    """Return an exported document."""
    return json.dumps({"body": PLAN, "limits": {}, "prorate": False, **more})


def test_what_is_exported_is_read_back_the_same(scene: Scene) -> None:
    answer = sign_in(scene, Role.VIEWER).get(path(scene, "/versions/1.json"))
    code = scene.version.plan.code
    assert answer["Content-Disposition"] == f'attachment; filename="{code}-v1.json"'
    told = json.loads(answer.content)
    assert (told["version"], told["state"]) == (1, "published")
    assert told["body"] == scene.version.body
    file = SimpleUploadedFile("plan.json", answer.content)
    done = read(scene, file=file)
    assert (done.status_code, done["Location"]) == (302, path(scene, "?version=2"))
    draft = made(scene)
    assert draft is not None
    assert (draft.body, draft.limits) == (scene.version.body, scene.version.limits)


def test_a_pasted_plan_keeps_the_limits_there_are(scene: Scene) -> None:
    plans.save_draft(
        plan=scene.version.plan,
        body=PLAN,
        limits={"spend_cap": "5"},
        prorate=True,
        actor=None,
    )
    assert read(scene, text=json.dumps(PLAN), replace="on").status_code == 302
    draft = made(scene)
    assert draft is not None
    assert (draft.limits, draft.prorate) == ({"spend_cap": "5"}, True)


def test_a_file_with_a_byte_order_mark_is_read(scene: Scene) -> None:
    file = SimpleUploadedFile("plan.json", b"\xef\xbb\xbf" + document().encode())
    assert read(scene, file=file).status_code == 302


def test_the_form_asks_before_it_replaces_a_draft(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    assert (
        "Replace the draft" not in client.get(path(scene, "/import")).content.decode()
    )
    plans.save_draft(plan=scene.version.plan, body=PLAN, limits={}, actor=None)
    assert "Replace the draft v2" in client.get(path(scene, "/import")).content.decode()
    answer = read(scene, text=document(limits={"spend_cap": "9"}))
    assert answer.status_code == 422
    assert "v2 would be overwritten" in answer.content.decode()
    draft = made(scene)
    assert draft is not None
    assert draft.limits == {}


def charges(price: dict[str, Any]) -> str:
    """Return plan JSON with one charge of a price."""
    charge = {"key": "a", "name": "A", "metric": "tool_calls", "price": price}
    return json.dumps({"currency": "USD", "charges": [charge]})


@pytest.mark.parametrize(
    ("_case", "text", "words"),
    [
        ("nothing", " ", "Choose a file, or paste JSON here."),
        ("no JSON", '{"a": 1,\n oops}', "in line 2, column 2"),
        ("no object", "[1]", "An object is expected"),
        ("a key twice", '{"body": 1, "body": 2}', "comes twice"),
        ("too deep", "[" * 5000 + "]" * 5000, "This is not JSON"),
        ("lone surrogate", '"\\ud800"', "This is not JSON"),
        ("no charges", '{"currency": "USD"}', "charges is missing"),
        (
            "a float",
            charges({"model": "per_unit", "unit_amount": 0.5}),
            "charges[0].price.unit_amount: ",
        ),
        (
            "13 places",
            charges({"model": "per_unit", "unit_amount": "0.0000000000001"}),
            "charges[0].price.unit_amount: ",
        ),
        (
            "unknown metric",
            charges({"model": "per_unit", "unit_amount": "1"}).replace(
                "tool_calls", "tool_cals"
            ),
            "charges[0].metric: There is no metric tool_cals.",
        ),
        ("no currency", '{"currency": "GOLD", "charges": []}', "currency: "),
        ("limits", document(limits={"spend_cap": 5}), "limits.spend_cap: "),
        ("limits are a list", document(limits=[]), "limits: an object is expected"),
        ("prorate", document(prorate="yes"), "prorate: true or false is expected"),
        ("body", document(body=[]), "body: an object is expected"),
        (
            "null in a text",
            document(body={**PLAN, "currency": "U\0"}),
            "body.currency: ",
        ),
        ("null in a limit", document(limits={"a": ["\0"]}), "limits.a[0]: null char"),
        ("null in a key", document(**{"a\0": 1}), "A key: null characters"),
        ("null itself", '{"currency": "\0"}', "Null characters are not allowed"),
        ("unknown key", document(price=1), "price: price is not known here."),
        ("too long", '"' + "x" * DOCUMENT_MAX + '"', "At most 524,288 characters"),
    ],
)
def test_what_is_wrong_says_where_and_is_kept(
    scene: Scene, _case: str, text: str, words: str
) -> None:
    answer = read(scene, text=text)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    assert made(scene) is None
    if _case == "a float":
        assert "unit_amount&quot;: 0.5" in page


def test_a_wrong_file_is_refused_and_its_text_kept(scene: Scene) -> None:
    for content, words in (
        (b"\xff\xfe", "no text in UTF-8"),
        (b" " * (DOCUMENT_MAX + 1), "has 524,289 bytes"),
        (b'{"currency": "USD", "oops"}', "in line 1, column 27"),
    ):
        answer = read(scene, file=SimpleUploadedFile("plan.json", content))
        assert answer.status_code == 422
        assert words in answer.content.decode()
    assert "&quot;oops&quot;}" in answer.content.decode()


def test_terms_of_the_whole_plan_are_read_and_refused_by_their_path(
    scene: Scene,
) -> None:
    terms = {"minimum": "5", "discounts": [{"name": "Launch", "percent": "10"}]}
    read(scene, text=json.dumps({**PLAN, **terms}))
    draft = made(scene)
    assert draft is not None
    assert {name: draft.body[name] for name in terms} == terms
    wrong = {**PLAN, "discounts": [{"name": "Launch", "percent": "200"}]}
    answer = read(scene, text=json.dumps(wrong), replace="on")
    assert "discounts[0].percent: 200 is more than all of it" in answer.content.decode()
    shown = sign_in(scene, Role.VIEWER).get(path(scene, "?version=2")).content.decode()
    assert "Minimum spend" in shown
    assert "10 % off everything" in shown
