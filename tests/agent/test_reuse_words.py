"""What a person and a script are told of reuse, and that older journals still say nothing of it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.events import ReplyEnded
from agent.frontends.console import PlainConsole
from agent.frontends.fix import event_line
from agent.frontends.report import FixReport, report_of
from agent.frontends.usage import guessed_words, reuse_sentence
from agent.journal import Journal
from agent.outcome import FixOutcome
from agent.session import JOURNAL, Session
from inference.messages import Usage


def usage(num_prompt: int, num_reused: int, num_repeated: int = 0, num_generated: int = 9) -> Usage:
    num_prefilled = num_prompt - num_reused
    return Usage(
        num_prompt, num_reused, num_prefilled, num_generated, 0.5, 0.25, num_repeated=num_repeated
    )


def test_guesses_are_told_where_any_were_made() -> None:
    guessed = replace(usage(20, 8), num_drafted=8, num_accepted=6)
    assert guessed_words((usage(20, 8),)) == ""
    assert guessed_words((usage(20, 8), guessed, guessed)) == "75% of 16 guesses right"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (usage(98_950, 98_304), "resumed at 98,304 of 98,950; the rest is new"),
        (
            usage(98_950, 90_112, 8_192),
            "resumed at 90,112 of 98,950; 8,192 tokens had been read before but no snapshot was "
            "near; 646 are new",
        ),
        (usage(4_120, 0), "nothing to resume from; 4,120 tokens are new"),
        (usage(1, 0), "nothing to resume from; 1 token is new"),
        (
            usage(300, 0, 299),
            "nothing to resume from; 299 tokens had been read before but no snapshot was near; "
            "1 is new",
        ),
        (
            usage(9, 8, 1),
            "resumed at 8 of 9; 1 token had been read before but no snapshot was near; "
            "nothing is new",
        ),
        (usage(70, 70), "resumed at 70 of 70; nothing is new"),
        (usage(0, 0), "stopped before anything was read"),
    ],
)
def test_a_reply_says_what_was_reused_and_why_not_more(said: Usage, words: str) -> None:
    assert reuse_sentence(said) == words


def test_a_reply_that_goes_on_from_the_last_one_says_so() -> None:
    before = usage(1_000, 0, num_generated=9)  # 1,008 were read: the ninth was only drawn
    assert reuse_sentence(usage(1_220, 1_008), before) == (
        "went on where the last reply ended: 212 new tokens"
    )
    assert reuse_sentence(usage(1_009, 1_008), before).endswith("ended: 1 new token")
    assert reuse_sentence(usage(1_220, 1_000), before).startswith("resumed at 1,000")
    unsaid = usage(1_000, 0, num_generated=0)
    assert reuse_sentence(usage(1_050, 1_000), unsaid).endswith("ended: 50 new tokens")


def shown(capsys: pytest.CaptureFixture[str], *usages: Usage) -> list[str]:
    console = PlainConsole(sys.stdout)
    for each in usages:
        console.show(ReplyEnded(each, ""))
    lines = capsys.readouterr().out.splitlines()
    return [line.strip() for line in lines if not line.startswith("  [")]


def test_a_screen_has_no_line_for_what_goes_without_saying(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(capsys, usage(1_000, 0), usage(1_220, 1_008), usage(1_300, 1_228)) == []


def test_a_screen_tells_of_a_resumption_and_of_a_loss(capsys: pytest.CaptureFixture[str]) -> None:
    warm, rewound, lost = usage(1_000, 960), usage(800, 768), usage(1_500, 256, 500)
    assert shown(capsys, warm, rewound, lost) == [
        "resumed at 960 of 1,000; the rest is new",
        "resumed at 768 of 800; the rest is new",
        "resumed at 256 of 1,500; 500 tokens had been read before but no snapshot was near; "
        "744 are new",
    ]


def test_the_last_lines_count_what_was_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    def last(*usages: Usage) -> str:
        PlainConsole(sys.stdout).finish(FixOutcome(0, "Done.", "/r", "m", 0, usages=usages))
        return capsys.readouterr().out

    assert "1,244 tokens read (500 of them again), 256 reused" in last(usage(1_500, 256, 500))
    assert "1,244 tokens read, 256 reused" in last(usage(1_500, 256))


def test_the_documents_hold_the_figure_its_sum_and_the_sentence() -> None:
    usages = (usage(1_000, 0), usage(1_220, 1_008), usage(1_500, 256, 500))
    report = report_of(FixOutcome(0, "Done.", "/r", "m", 0, usages=usages))
    assert report.usage.num_repeated == 500
    assert [reply.num_repeated for reply in report.replies] == [0, 0, 500]
    assert report.replies[0].reuse == "nothing to resume from; 1,000 tokens are new"
    assert report.replies[1].reuse == "went on where the last reply ended: 212 new tokens"
    assert FixReport.model_validate_json(report.model_dump_json()) == report
    line = json.loads(event_line(ReplyEnded(usages[1], "x"), usages[0]))
    assert line["usage"]["num_repeated"] == 0
    assert line["reuse"] == report.replies[1].reuse


def test_a_document_of_an_earlier_version_is_still_one() -> None:
    def without(fields: Any) -> Any:
        if isinstance(fields, dict):
            new = ("num_repeated", "reuse")
            return {key: without(value) for key, value in fields.items() if key not in new}
        return [without(value) for value in fields] if isinstance(fields, list) else fields

    report = report_of(FixOutcome(0, "Done.", "/r", "m", 0, usages=(usage(10, 4),)))
    old = without(report.model_dump(mode="json"))
    assert FixReport.model_validate(old).replies[0].num_repeated == 0


def test_a_journal_without_the_figure_is_resumed_and_one_with_it_keeps_it(tmp_path: Path) -> None:
    old = usage(10, 4).__dict__.copy()
    del old["num_repeated"]
    folder = tmp_path / "session"
    folder.mkdir()
    journal = Journal.create(folder / JOURNAL)
    journal.append({"type": "start"})
    journal.append({"type": "spent", "usage": old})
    journal.close()
    session = Session.open(folder)
    session.spend(usage(20, 4, 7))
    session.close()
    again = Session.open(folder)
    assert again.usages == [usage(10, 4), usage(20, 4, 7)]
    again.close()
