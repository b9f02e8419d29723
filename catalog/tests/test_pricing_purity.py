"""The pricing package stands alone, and no float comes near it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import catalog.pricing

FOLDER = Path(catalog.pricing.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))


def test_importing_pricing_loads_no_framework() -> None:
    code = (
        "import sys, catalog.pricing\n"
        "print([n for n in ('django', 'celery', 'redis', 'psycopg', 'msgspec')"
        " if n in sys.modules])"
    )
    root = FOLDER.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_no_float_no_clock_and_no_file_is_touched(path: Path) -> None:
    banned = {"float", "open", "print", "now", "today", "utcnow", "getenv", "environ"}
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        name = getattr(node, "id", getattr(node, "attr", None))
        # The reader names the type once, to refuse it.
        if (path.name, name) != ("reading.py", "float"):
            assert name not in banned, f"{path.name}: {name}"


def test_everything_exported_exists_and_is_said_in_a_docstring() -> None:
    for name in catalog.pricing.__all__:
        exported = getattr(catalog.pricing, name)
        if callable(exported):
            assert exported.__doc__, name
