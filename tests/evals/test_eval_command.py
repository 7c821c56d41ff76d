"""`eval run`, `eval report` and `eval compare` as a person types them."""

from pathlib import Path

import pytest

from agent.cli import main


def eval_(*words: str) -> int:
    return main(["eval", *words])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "nano", "--out", "x", "--solver", "noop", "--model", "nano"), "needs no model"),
        (("report", "."), "holds no run; `qwen-agent eval run SUITE --out .` makes one"),
        (("run", "nano", "--out", "x", "--attempts", "0"), "'0' is not a number from 1 on"),
        (("run", "nano"), "required: --out"),
        (("run", "nano", "--out", "/proc/x", "--solver", "noop"), "/proc/x cannot be made"),
        (("run", "mutants", ".", "--out", "x", "--solver", "noop"), "found no tests; say how"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert eval_(*words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_suite_is_run_and_reported_and_two_runs_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    knows, idles = tmp_path / "knows", tmp_path / "idles"
    for solver, out in (("oracle", knows), ("noop", idles)):
        words = ("--seeds", "900000:900002", "--solver", solver, "--workers", "2")
        assert eval_("run", "nano", *words, "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "nano, oracle: 2 of 2 solved" in said
    assert "nano, noop: 0 of 2 solved" in said
    assert "not solved: no edit 2" in said
    assert eval_("compare", str(knows), str(idles), "--out", str(tmp_path)) == 0
    assert "only A 2, only B 0; McNemar's exact p = 0.5" in capsys.readouterr().out
    pages = ("knows/report.html", "knows/trajectories/900000.html", "compare.html")
    assert all((tmp_path / page).stat().st_size > 1_000 for page in pages)
