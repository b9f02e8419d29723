"""Rules of the house, as tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("aforo", "catalog", "billing", "guard", "metering", "portal")
FILE_MAX = 400
FUNCTION_MAX = 60
# Where a float near money would do harm.
MONEY = ("catalog/pricing", "billing", "aforo/lib/money.py", "metering/pipeline.py")


def sources() -> list[Path]:
    """Every Python file of the product and its tests, migrations apart."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [ROOT / name for name in listed if "/migrations/0001" not in name]


@pytest.mark.parametrize(
    "core",
    ["catalog.pricing", "guard.engine", "aforo.lib.money", "metering.normalize"],
)
def test_a_pure_core_does_not_load_a_framework(core: str) -> None:
    code = (
        f"import sys, {core};"
        "bad = {'django', 'celery', 'rest_framework'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_the_project_package_is_empty() -> None:
    assert (ROOT / "aforo/__init__.py").read_text() == ""


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if (count := len(path.read_text().splitlines())) > FILE_MAX
    }
    assert long == {}


def test_functions_stay_short() -> None:
    long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_MAX:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


def test_public_functions_say_what_they_mean() -> None:
    silent = []
    for path in sources():
        if "tests" in path.parts or path.name.startswith("test_"):
            continue
        tree = ast.parse(path.read_text())
        if tree.body and ast.get_docstring(tree) is None:
            silent.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            if not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def test_no_float_comes_near_money() -> None:
    found = []
    for path in sources():
        name = str(path.relative_to(ROOT))
        if not name.startswith(MONEY) or "/tests/" in name:
            continue
        tree = ast.parse(path.read_text())
        # isinstance(value, float) is how a float is refused.
        refusals = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "isinstance"
            for part in ast.walk(node)
        }
        for node in ast.walk(tree):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            named = isinstance(node, ast.Name) and node.id == "float"
            if literal or (named and id(node) not in refusals):
                found.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


def test_keys_of_redis_are_named_in_one_place() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "guard").rglob("*.py")
        if "tests" not in path.parts
        and path.name != "keys.py"
        and any(f'"{part}"' in path.read_text() for part in (":cfg", ":use", ":hold"))
    ]
    assert offenders == []


def test_every_app_says_its_invariants() -> None:
    missing = [app for app in APPS if not (ROOT / app / "README.md").is_file()]
    assert missing == []
