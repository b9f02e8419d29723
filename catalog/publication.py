"""From draft to published version: checked, reviewed, and only what was looked at."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from aforo.core.models import User
from aforo.lib.errors import AforoError
from catalog import plans, pricing
from catalog.difference import Terms
from catalog.limits import check_limits
from catalog.models import Metric, Plan, PlanVersion

DRAFT = PlanVersion.State.DRAFT


def check(
    body: Mapping[str, Any], limits: Mapping[str, Any], *, tenant_id: uuid.UUID
) -> pricing.Plan:
    """Return the plan that a body makes, if it and the limits can be published.

    Raises AforoError 422 `unknown_metric`, `invalid_limits` or a code of plan JSON,
    with the path as its field.
    """
    known = {m.code: m for m in Metric.objects.filter(tenant_id=tenant_id)}
    try:
        parsed = pricing.parse_plan(plans.resolve_metrics(body, known))
    except pricing.PlanError as error:
        raise AforoError(error.code, 422, error.message, field=error.path) from error
    check_limits(limits, metrics=frozenset(known))
    return parsed


def terms(version: PlanVersion) -> Terms:
    """Return what a version says; of a draft, what it would say. Raises as `check`."""
    if version.state == DRAFT:
        plan = check(version.body, version.limits, tenant_id=version.tenant_id)
    else:
        (priced,) = plans.load_plans({version.pk}).values()
        plan = priced.plan
    return Terms(plan, version.limits, version.prorate)


def fingerprint(version: PlanVersion) -> str:
    """Return a digest of all that a version says: the same text, the same terms."""
    said = [version.body, version.limits, version.prorate]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@transaction.atomic
def publish_reviewed(
    *, version: PlanVersion, actor: User | None, reviewed: str
) -> PlanVersion:
    """Publish a draft if it still says what somebody looked at.

    `reviewed` is the fingerprint of that. Raises AforoError 409 `not_a_draft` (who
    published it, and when) or `draft_changed`, and as `plans.publish` does.
    """
    found = (
        PlanVersion.objects.select_for_update(of=("self",))
        .select_related("plan", "published_by")
        .get(pk=version.pk)
    )
    if found.state != DRAFT:
        raise AforoError("not_a_draft", 409, published_words(found))
    if fingerprint(found) != reviewed:
        raise AforoError(
            "draft_changed",
            409,
            f"v{found.number} was changed while you reviewed it. Look at the"
            " difference as it is now, and publish then.",
        )
    return plans.publish(version=found, actor=actor)


def published_words(version: PlanVersion) -> str:
    """Return who published a version, and when."""
    if version.published_at is None:
        return f"{version} is {version.state}."
    who = f" by {version.published_by}" if version.published_by else ""
    when = f"{version.published_at.astimezone(dt.UTC):%-d %b %Y, %H:%M} UTC"
    return f"{version} was published{who} on {when}. It never changes."


@transaction.atomic
def start_draft(*, version: PlanVersion, actor: User | None) -> PlanVersion:
    """Begin the plan's next version with what a published one says.

    Raises AforoError 409 `draft_exists` or `not_published`.
    """
    plan = Plan.objects.select_for_update().get(pk=version.plan_id)
    if version.state == DRAFT:
        raise AforoError("not_published", 409, f"{version} is a draft itself.")
    draft = PlanVersion.objects.filter(plan=plan, state=DRAFT).first()
    if draft is not None:
        raise AforoError("draft_exists", 409, f"{plan} has the draft v{draft.number}.")
    return plans.save_draft(
        plan=plan,
        body=version.body,
        limits=version.limits,
        prorate=version.prorate,
        actor=actor,
    )
