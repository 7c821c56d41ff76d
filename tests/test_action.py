"""The GitHub action and the workflow that comes with it: valid, deaf to what strangers write."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.arguments import parse
from agent.frontends.github import add_outputs
from agent.outcome import FixOutcome
from tests.formats import check_action

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / "docs/workflows/fix.yml").read_text())
STEPS = ACTION["runs"]["steps"]
SCRIPTS = [step["run"] for step in STEPS if "run" in step]


def expressions(value: Any) -> set[str]:
    """What stands in `${{ }}` anywhere in a part of a file."""
    return {found.strip() for found in re.findall(r"\$\{\{(.*?)\}\}", str(value))}


def test_the_action_is_valid_metadata() -> None:
    check_action(ACTION)


def test_the_scripts_of_the_action_are_bash() -> None:
    for script in SCRIPTS:
        words = ["bash", "-n", "-c", script]
        assert subprocess.run(words, capture_output=True, timeout=120).stderr == b""


def test_no_text_of_others_is_put_into_a_script() -> None:
    # An expression in a script is replaced before bash reads it; in a variable it stays a value.
    assert [script for script in SCRIPTS if expressions(script)] == []
    jobs = WORKFLOW["jobs"].values()
    runs = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert [run for run in runs if expressions(run)] == []


def test_every_expression_names_what_there_is() -> None:
    ids = {step["id"] for step in STEPS if "id" in step}
    known = {f"inputs.{name}" for name in ACTION["inputs"]}
    for words in expressions(ACTION):
        for name in re.findall(r"inputs\.[\w-]+", words):
            assert name in known
        for step in re.findall(r"steps\.([\w-]+)\.", words):
            assert step in ids
    assert {f"inputs.{name}" for name in ACTION["inputs"]} <= {
        name for words in expressions(STEPS) for name in re.findall(r"inputs\.[\w-]+", words)
    }


def test_the_outputs_are_those_that_a_run_sets(tmp_path: Path) -> None:
    add_outputs(FixOutcome(0, "", "", "", 0), {"GITHUB_OUTPUT": str(tmp_path / "out")})
    given = re.findall(r"^([\w-]+)<<", (tmp_path / "out").read_text(), re.M)
    words = expressions(ACTION["outputs"])
    used = {found for one in words for found in re.findall(r"steps\.fix\.outputs\.([\w-]+)", one)}
    assert used == set(given)


@pytest.mark.parametrize(
    "more", [{}, {"ISSUE": "a 'b' $(x)\n--c", "TEST_CMD": "make x", "FAIL": ""}]
)
def test_the_step_runs_fix_with_the_inputs_as_they_are(
    tmp_path: Path, more: dict[str, str]
) -> None:
    program = tmp_path / "qwen-agent/bin/qwen-agent"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" > {tmp_path}/words\nexit 3\n")
    program.chmod(0o755)
    step = next(step for step in STEPS if step.get("id") == "fix")
    names = {name: value for name, value in step["env"].items() if "inputs." in value}
    inputs = {
        name: ACTION["inputs"][re.search(r"inputs\.([\w-]+)", value)[1]]["default"]  # type: ignore[index]
        for name, value in names.items()
    }
    folder = {"FOLDER": str(tmp_path), "RUNNER_TEMP": str(tmp_path), "PATH": "/usr/bin:/bin"}
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(script, env={**folder, **inputs, **more}, timeout=120)
    assert done.returncode == (0 if "FAIL" in more else 3)
    words = (tmp_path / "words").read_text().split("\0")[:-1]
    arguments = parse(words)
    assert (arguments.command, str(arguments.path), arguments.model) == ("fix", ".", "auto")
    assert (arguments.max_time, arguments.max_tokens, arguments.attempts) == (1800, 1000000, 1)
    assert arguments.issue == more.get("ISSUE")
    assert arguments.test_cmd == more.get("TEST_CMD")
    assert arguments.base is arguments.branch is arguments.dry_run is None


def test_the_example_gives_inputs_and_reads_outputs_that_there_are() -> None:
    steps = WORKFLOW["jobs"]["fix"]["steps"]
    fix = next(step for step in steps if step.get("id") == "fix")
    assert set(fix["with"]) <= set(ACTION["inputs"])
    read = {name for one in expressions(steps) for name in re.findall(r"outputs\.([\w-]+)", one)}
    assert read <= set(ACTION["outputs"])
    assert WORKFLOW["permissions"] == {"contents": "read"}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is no shellcheck here")
def test_shellcheck_has_nothing_to_say() -> None:
    for script in SCRIPTS:
        words = ["shellcheck", "--shell=bash", "-"]
        done = subprocess.run(words, input=script, capture_output=True, text=True, timeout=120)
        assert done.stdout == ""
