"""What the pages of plans say of versions: in words, and what changes between two."""

from __future__ import annotations

from typing import Any

from aforo.lib.errors import AforoError
from catalog import publication
from catalog.describe import describe
from catalog.difference import Terms, compare
from catalog.models import PlanVersion
from portal.selectors.plans import VersionRow


def terms_of(version: PlanVersion) -> tuple[Terms | None, str]:
    """Return what a version says, or why its draft cannot be published yet."""
    try:
        return publication.terms(version), ""
    except AforoError as error:
        return None, f"{error.field}: {error.detail}" if error.field else error.detail


def summary_of(shown: VersionRow | None) -> dict[str, Any]:
    """Return a version in words."""
    if shown is None:
        return {"summary": "", "problem": ""}
    said, problem = terms_of(shown.version)
    return {"summary": describe(said.plan) if said else "", "problem": problem}


def pair(
    versions: list[VersionRow], shown: VersionRow | None
) -> tuple[VersionRow | None, VersionRow | None]:
    """Return the two versions that the page compares, the older one first.

    The live version is compared with the draft, if there is one; any other with the
    version before it.
    """
    if shown is None:
        return None, None
    draft = next((v for v in versions if v.state == "draft"), None)
    if shown.is_live and draft is not None:
        return shown, draft
    if shown is draft:
        live = next((v for v in versions if v.is_live), None)
        if live is not None:
            return live, shown
    before = [v for v in versions if v.version.number < shown.version.number]
    return (before[0], shown) if before else (None, shown)


def difference(old: VersionRow | None, new: VersionRow | None) -> dict[str, Any]:
    """Return what a template needs to show what changes; empty without two versions."""
    if old is None or new is None:
        return {}
    (was, _), (becomes, problem) = terms_of(old.version), terms_of(new.version)
    return {
        "old": old,
        "new": new,
        "difference": compare(was, becomes) if was and becomes else None,
        "difference_problem": problem,
        "difference_title": f"v{old.version.number} → v{new.version.number}"
        + (" (draft)" if new.state == "draft" else ""),
    }
