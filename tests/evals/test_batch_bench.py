"""The benchmark of lines that are written together, on the smallest shape."""

import argparse
import json

import pytest

from evals.bench.batch import add_arguments, run


@pytest.mark.slow
def test_it_prints_both_speeds_beside_the_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = "--shape tiny --dtype float32 --lines 3 --prompt 20 --new 4 --runs 1 --threads 1 --json"
    assert run(parser.parse_args(words.split())) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["gain"] == pytest.approx(
        figures["together_tok_s"] / figures["alone_tok_s"], rel=0.05
    )
    assert set(figures["rows_per_s"]) == {"1", "2", "4", "8"}
    assert run(parser.parse_args(["--shape", "none"])) == 2
