from __future__ import annotations

from pathlib import Path

import pytest

from guard.engine.decision import Reason
from guard.wording import WORDINGS

GUIDE = (Path(__file__).parents[2] / "docs" / "guard.md").read_text()


@pytest.mark.parametrize("reason", list(Reason))
def test_the_guide_lists_every_reason_with_its_status_and_code(reason: Reason) -> None:
    wording = WORDINGS[reason]
    row = f"| `{reason.value}` | {wording.status} | `{wording.code}` |"
    assert GUIDE.count(row) == 1
