"""Reports: the figures are those of the records, two runs are paired, and no text becomes a tag."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.errors import UsageError
from evals.conditions import Conditions
from evals.report.markup import page, tag
from evals.report.plots import ticks_to
from evals.report.words import pairing_words, summary_words
from evals.report.written import compared, write_pairing, write_report
from evals.run_folder import RunFolder
from evals.runner import prepared, run
from tests.evals.toys import Here, Toys, toy_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """The same toys with two seeds; in the second run the log lets one of them fail."""
    folder = tmp_path_factory.mktemp("runs")
    toys = Toys(["", "fail", "die once", ""], folder / "log")
    (folder / "log").write_text("toy-2 1\n")  # so it does not die here
    made = [prepared(toys, Conditions(seed=n), folder / f"run{n}") for n in (0, 1)]
    for one in made:
        run(one, Here, lambda _text: None)
    _make_unsolved(made[0], "toy-3")
    return made[0], made[1]


def _make_unsolved(folder: RunFolder, task: str) -> None:
    records = folder.path / "records.jsonl"
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    for line in lines:
        if line.get("task") == task:
            line["grade"]["is_solved"], line["failure"] = False, "loop"
    records.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_a_report_counts_what_the_records_say(runs: tuple[RunFolder, RunFolder]) -> None:
    summary = write_report(runs[0])
    assert (summary.num_solved, summary.num_done) == (2, 4)
    assert summary.failures == {"wrong logic": 1, "loop": 1}
    assert (summary.median_tokens, summary.spent.num_reused) == (8, 16)
    written = json.loads((runs[0].path / "report.json").read_text())
    assert written["head"]["config_sha256"] == runs[0].head.config_sha256
    words = summary_words(summary)
    assert "2 of 4 solved (50.0%; 95% interval 15.0% to 85.0%)" in words
    assert "Nobody was trained on these." in words


def test_what_says_nothing_of_the_solver_is_counted_apart(tmp_path: Path) -> None:
    toys = Toys(["", "fail", "break", "none"], tmp_path / "log")
    first, second = (prepared(toys, Conditions(seed=n), tmp_path / f"run{n}") for n in range(2))
    for one in (first, second):
        run(one, Here, lambda _text: None)
    summary = write_report(first)
    assert (summary.num_done, summary.num_counted, summary.num_solved) == (4, 2, 1)
    assert summary.failures == {"wrong logic": 1}
    words = summary_words(summary)
    assert "1 of 2 solved (50.0%" in words
    assert "not solved: wrong logic 1\nnot counted: environment 2\n" in words
    assert compared(first, second).num_pairs == 2


def test_of_swebench_the_patches_are_written_for_the_official_grader(tmp_path: Path) -> None:
    toys = Toys(["", "fail"], tmp_path / "log")
    toys.suite = "swebench"
    folder = prepared(toys, Conditions(model="tiny"), tmp_path / "run")
    run(folder, Here, lambda _text: None)
    write_report(folder)
    first, second = (folder.path / "predictions.jsonl").read_text().splitlines()
    assert json.loads(first) == {
        "instance_id": "toy-0", "model_name_or_path": "tiny", "model_patch": "+"
    }  # fmt: skip
    assert json.loads(second)["instance_id"] == "toy-1"


def test_two_runs_are_compared_task_by_task(runs: tuple[RunFolder, RunFolder]) -> None:
    pairing = compared(*runs)
    assert (pairing.gained, pairing.lost) == (("toy-3",), ())
    assert (pairing.both, pairing.neither, pairing.p_value) == (2, 1, 1.0)
    assert pairing.solved.mean == 0.25
    assert pairing.changed == {"seed": ("0", "1")}
    assert pairing.num_same == 4
    assert "A -> B: seed 0 -> 1" in pairing_words(pairing)
    low, high = pairing.solved.interval
    assert low <= 0.25 <= high


def test_runs_of_other_tasks_are_not_compared(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no task"):
        compared(runs[0], toy_run(tmp_path, [""]))


def test_what_a_model_wrote_is_shown_and_never_obeyed(runs: tuple[RunFolder, RunFolder]) -> None:
    write_report(runs[0])
    shown = (runs[0].path / "trajectories" / "toy-1.html").read_text()
    assert "&lt;b&gt;I am toy-1&lt;/b&gt;" in shown
    assert "<b>I am" not in shown
    assert "default-src &#x27;none&#x27;" in shown


def test_no_text_and_no_attribute_can_leave_its_place() -> None:
    evil = '"><script>alert(1)</script>\u202e'
    made = page(evil, "", tag("a", evil, href=evil), [tag("p", evil)])
    assert "<script" not in made
    assert "\u202e" not in made
    assert len(re.findall(r"<a ", made)) == 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 7.0, 1_234_567.0])
def test_an_axis_begins_at_nothing_and_holds_everything(value: float) -> None:
    ticks = ticks_to(value)
    assert ticks[0] == 0
    assert ticks[-1] >= value
    assert len(ticks) <= 7


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed")
def test_a_browser_shows_the_pages_and_finds_nothing_wrong_with_them(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    write_report(runs[0])
    write_pairing(*runs, tmp_path)
    pages = [runs[0].path / "report.html", tmp_path / "compare.html"]
    pages.append(runs[0].path / "trajectories" / "toy-1.html")
    for number, file in enumerate(pages):
        picture = tmp_path / f"{number}.png"
        _browse(file, f"--screenshot={picture}")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000, "there is something in it"
    assert len(re.findall(r"<path [^>]*curve", _browse(pages[1], "--dump-dom"))) == 6


def _browse(file: Path, what: str) -> str:
    assert CHROMIUM is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,1400")
    done = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={file.parent / 'profile'}", what, file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
