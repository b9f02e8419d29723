"""The recorded files are read to the last token."""

from __future__ import annotations

from aforo.demo import files
from aforo.demo.files import Tokens


def test_the_conversation_has_the_tokens_that_its_notice_says():
    assert files.totals(files.CONVERSATION) == Tokens(
        12_031, 90_695_412, 54_098_411, 4_122_048
    )


def test_the_sessions_have_the_calls_that_their_notice_says():
    sessions = files.agent_sessions()
    totals = files.totals(files.AGENT_SESSIONS)
    assert (totals.requests, totals.tool_calls) == (2_454, 1_164)
    assert sum(session.resolved for session in sessions) == 84
    steps = [step for session in sessions for step in session.steps]
    assert sum(step.status == "FAILED" for step in steps) == 73


def test_every_line_of_the_code_service_is_one_request_within_its_hour():
    rows = files.code_completion()
    assert len(rows) == files.totals(files.CODE_COMPLETION).requests == 8_819
    assert rows[0].at_ms == 0
    assert all(0 <= row.at_ms < 3_600_000 for row in rows)


def test_the_notice_lies_beside_the_files():
    notice = (files.DATA / "NOTICE.md").read_text()
    assert all(name in notice for name in files.FILES)
