"""The benchmark of lines that are written together, on the smallest shape."""

import argparse
import json

import pytest

from evals.bench.batch import WANTED, add_arguments, run


@pytest.mark.slow
def test_it_prints_both_speeds_beside_the_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = "--shape tiny --lines 3 --prompt 20 --new 4 --runs 1 --threads 1 --json"
    weights = ["--weights", "float32", "int8"]
    code = run(parser.parse_args([*words.split(), *weights]))
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    speeds = {figure["name"]: figure["value"] for figure in report["figures"]}
    alone = max(speeds[f"{kind}, one line by itself"] for kind in weights[1:])
    together = max(speeds[f"{kind}, 3 lines together"] for kind in weights[1:])
    assert report["beside"]["gain"] == pytest.approx(together / alone, rel=0.01)
    assert code == (0 if together >= WANTED * alone else 1)
    assert sum("all matrices times" in name for name in speeds) == 8
