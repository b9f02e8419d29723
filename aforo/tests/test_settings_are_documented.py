"""docs/settings.md names every variable that the code reads, and no other."""

from __future__ import annotations

import re

from tests import harness

APPS = ("aforo", "catalog", "billing", "guard", "metering", "portal")
READ = re.compile(
    r"(?:env\.(?:text|flag|integer)|environ\.get)\(\s*\"((?:AFORO_|DATABASE_|REDIS_)\w+)\""
    r"|environ\[\"((?:AFORO_)\w+)\"\]"
)


def variables_in_code() -> set[str]:
    """Return the names that the product's modules read, tests left out."""
    return {
        first or second
        for app in APPS
        for path in (harness.ROOT / app).rglob("*.py")
        if "tests" not in path.parts
        for first, second in READ.findall(path.read_text())
    }


def variables_on_the_page() -> set[str]:
    """Return the names in the first column of the page's tables."""
    page = (harness.ROOT / "docs/settings.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))


def test_every_variable_is_on_the_settings_page():
    assert variables_in_code() == variables_on_the_page()
    assert len(variables_in_code()) > 15
