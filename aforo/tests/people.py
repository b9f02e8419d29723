"""Running the launcher as somebody who is not root."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from aforo.embedded import state
from aforo.embedded.process import Account

NOBODY = Account(65534, 65534)
is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can become another user")


def as_normal_user(folder: Path) -> dict[str, Any]:
    """Return subprocess options for a normal user who owns the folder.

    Skips when that user could not execute our Python because it, or the checkout, is
    in a closed folder such as /root.
    """
    if not is_root:
        return {}
    ours = (Path(sys.executable).resolve(), Path(sys.executable), Path(os.__file__))
    for program in (path.parent for path in (*ours, Path(__file__))):
        if not state.can_enter(program, NOBODY):
            pytest.skip(f"{program} is closed to other users")
    os.chown(folder, NOBODY.uid, NOBODY.gid)
    return {"user": NOBODY.uid, "group": NOBODY.gid, "extra_groups": []}
