import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from agent.events import Event, Notice
from agent.fix import resume_fix, run_fix
from agent.outcome import PRECEDENCE, FixOutcome, strongest
from agent.request import FixRequest
from agent.sessions import list_sessions
from agent.settings import ApprovalConfig, Budget, Config, SandboxConfig
from agent.wording import prompt
from inference.errors import ModelUnavailable
from tests.agent.fakes import (
    CART,
    FINISH,
    RED_TEST,
    REPAIR,
    RUN_TESTS,
    UNGATED,
    Say,
    ScriptedModel,
    bash,
    call,
    create,
    edit,
    make_repository,
    picture,
    write,
)
from tests.plain import plain_python

NEW_TEST = """\
import unittest

from shop.cart import double


class NegativeTest(unittest.TestCase):
    def test_double_of_a_negative_price(self) -> None:
        self.assertEqual(double(-1), 0)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def fix(
    repository: Path, *scripts: list[Say], cancel: Callable[[], bool] = lambda: False, **more: Any
) -> tuple[FixOutcome, list[Event], ScriptedModel]:
    """Run `fix` with a scripted model; return the outcome and all events."""
    model = ScriptedModel(scripts or [[FINISH]])
    request = FixRequest(repository, **more)
    state = repository.parent / "state"
    events: list[Event] = []
    outcome = drained(run_fix(request, cancel, lambda _: model, state), events)
    return outcome, events, model


def drained(run: Any, events: list[Event]) -> FixOutcome:
    while True:
        try:
            events.append(next(run))
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome


def left_behind(outcome: FixOutcome, state: Path) -> set[str]:
    return {path.name for path in (state / "sessions" / outcome.session_id).iterdir()}


# --- what a repair comes to


def test_a_repair_lands_in_the_users_files_and_nothing_else_changes(repository: Path) -> None:
    before = picture(repository)
    outcome, _, model = fix(repository, [RUN_TESTS, REPAIR, RUN_TESTS, FINISH])
    assert (outcome.exit_code, outcome.word, outcome.applied) == (0, "fixed", True)
    assert outcome.targets == (RED_TEST,)
    assert outcome.before is not None
    assert outcome.before.failed == (RED_TEST,)
    assert outcome.after is not None
    assert (outcome.after.num_passed, outcome.after.failed) == (2, ())
    after = picture(repository)
    assert after.pop("shop/cart.py") == CART.replace("price - tax", "price + tax").encode()
    before.pop("shop/cart.py")
    assert after == before
    assert (outcome.num_steps, outcome.num_calls, outcome.num_attempts) == (4, 4, 1)
    assert outcome.transcript_tokens == outcome.usages[-1].num_prompt + 3
    assert left_behind(outcome, repository.parent / "state") == {"journal.jsonl", "repair.patch"}
    assert [spec.name for spec in model.specs] == [
        "bash",
        "str_replace_editor",
        "search",
        "outline",
        "run_tests",
        "explore",
        "todo",
        "finish",
    ]


def test_the_patch_of_a_repair_is_one_that_git_takes(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.diff"
    outcome, _, _ = fix(repository, [REPAIR, FINISH], dry_run=True, patch=file)
    assert (outcome.exit_code, outcome.applied) == (0, False)
    assert "price - tax" in (repository / "shop/cart.py").read_text()
    assert file.read_text() == outcome.patch
    subprocess.run(["git", "apply", str(file)], cwd=repository, check=True, timeout=30)
    assert "price + tax" in (repository / "shop/cart.py").read_text()


def test_a_wrong_repair_is_not_applied_and_its_patch_is_kept(repository: Path) -> None:
    before = picture(repository)
    wrong = edit("shop/cart.py", "price - tax", "price * tax")
    outcome, _, _ = fix(repository, [wrong, FINISH])
    assert (outcome.exit_code, outcome.word) == (3, "red")
    assert picture(repository) == before
    assert outcome.patch_file is not None
    assert "price * tax" in Path(outcome.patch_file).read_text()


def test_a_model_that_changes_nothing_is_told_apart(repository: Path) -> None:
    before = picture(repository)
    outcome, _, _ = fix(repository, [FINISH])
    assert (outcome.exit_code, outcome.patch, outcome.patch_file) == (4, "", None)
    assert picture(repository) == before


def test_a_spent_budget_has_its_own_code_unless_the_tests_are_green(repository: Path) -> None:
    spent = Config(budget=Budget(max_steps=1))
    outcome, _, _ = fix(repository, [RUN_TESTS, REPAIR, FINISH], config=spent)
    assert outcome.exit_code == 5
    assert "1 reply is spent" in outcome.sentence
    outcome, _, _ = fix(repository, [REPAIR, FINISH], config=spent)
    assert outcome.exit_code == 0


@pytest.mark.parametrize(
    "script",
    [
        [bash("rm -r tests")],
        [edit("tests/test_cart.py", "total(3, 2), 5", "total(3, 2), 1")],
        [bash("sed -i '1i import sys; sys.exit(0)' shop/cart.py")],
        [bash("printf 'print(\"Ran 2 tests\\\\nOK\")\\nraise SystemExit(0)' > shop/cart.py")],
    ],
)
def test_cheating_is_never_a_repair(repository: Path, script: list[Say]) -> None:
    before = picture(repository)
    outcome, _, _ = fix(repository, [*script, FINISH])
    assert outcome.exit_code == 3
    assert picture(repository) == before


def test_only_what_was_judged_is_applied(repository: Path) -> None:
    meddling = edit("tests/test_cart.py", "total(3, 2), 5", "total(3, 2), 5.0")
    outcome, _, _ = fix(repository, [REPAIR, meddling, create("notes.md", "hi\n"), FINISH])
    assert outcome.exit_code == 0
    assert outcome.changed_files == ("notes.md", "shop/cart.py")
    assert "5.0" not in (repository / "tests/test_cart.py").read_text()


def test_a_later_attempt_starts_from_the_same_files_and_words(repository: Path) -> None:
    wrong = edit("shop/cart.py", "price - tax", "price * tax")
    outcome, events, model = fix(
        repository,
        [wrong, FINISH],
        [REPAIR, FINISH],
        [FINISH],
        attempts=5,
        seed=7,
        config=UNGATED,
    )
    assert (outcome.exit_code, outcome.num_attempts) == (0, 2)
    assert outcome.changed_files == ("shop/cart.py",)
    assert model.seen[0] == model.seen[2]
    assert model.options[0].sampling is None
    sampled = model.options[2].sampling
    assert sampled is not None
    assert (sampled.temperature, sampled.seed) == (0.7, 8)
    assert any(isinstance(event, Notice) for event in events)


def test_nano_is_asked_greedily_and_in_its_own_words(repository: Path) -> None:
    model = ScriptedModel([[REPAIR, FINISH]], name="nano")
    run = run_fix(FixRequest(repository), chat_factory=lambda _: model, state=repository.parent)
    assert drained(run, []).exit_code == 0
    assert not model.options[0].thinking
    assert model.options[0].sampling is None, "the profile's own preset, which is greedy"
    system, user = model.seen[0]
    assert (system.role, user.role) == ("system", "user")
    assert system.content == "Repair the repository so that its tests pass."
    assert user.content.startswith("The tests fail. Find the bug and repair it.\n\n1 failed, ")


def test_targets_can_be_named_and_other_red_tests_are_left_alone(tmp_path: Path) -> None:
    other = NEW_TEST.replace("(-1), 0", "(-1), 9")
    repository = make_repository(tmp_path / "repo", {"tests/test_other.py": other})
    outcome, _, _ = fix(repository, [REPAIR, FINISH], tests=(RED_TEST,))
    assert (outcome.exit_code, outcome.targets) == (0, (RED_TEST,))
    outcome, _, _ = fix(repository, [FINISH], tests=("tests.test_cart.Nowhere",))
    assert outcome.exit_code == 2
    assert "there is no test tests.test_cart.Nowhere" in outcome.sentence


CALC = "def one():\n    return 2\n"
CALC_TEST = (
    "import unittest\nfrom calc import one\n\nclass CalcTest(unittest.TestCase):\n"
    "    def test_one(self):\n        self.assertEqual(one(), 1)\n"
)


@pytest.mark.parametrize("named", ["py", "py/tests", "py/calc"])
def test_the_project_in_the_named_folder_is_mended(tmp_path: Path, named: str) -> None:
    files = {
        "py/calc/__init__.py": CALC,
        "py/tests/test_calc.py": CALC_TEST,
        "py/tests/test_own.py": "import unittest\n",
    }
    repository = make_repository(tmp_path / "repo", files)
    before = picture(repository)
    repair = edit("calc/__init__.py", "return 2", "return 1")
    script = [bash("pwd; ls"), RUN_TESTS, edit("../shop/cart.py", "-", "+"), repair, FINISH]
    request = FixRequest(repository / named)
    model = ScriptedModel([script])
    run = run_fix(request, chat_factory=lambda _: model, state=tmp_path / "state")
    outcome = drained(run, [])
    assert (outcome.exit_code, outcome.changed_files) == (0, ("py/calc/__init__.py",))
    assert outcome.repository == str(repository)
    assert outcome.test_command == "python -m unittest discover -s tests"
    texts = [message.content for message in model.seen[-1] if message.role == "tool"]
    assert texts[0] == f"{repository}/py\ncalc\ntests"
    assert 'File "tests/test_calc.py"' in texts[1]
    assert "outside the workspace" in texts[2]
    after = picture(repository)
    assert after.pop("py/calc/__init__.py") == CALC.replace("2", "1").encode()
    before.pop("py/calc/__init__.py")
    assert after == before


def test_a_given_command_runs_in_the_named_folder(tmp_path: Path) -> None:
    repository = make_repository(
        tmp_path / "repo",
        {"py/calc.py": CALC, "py/run.py": "import calc\nassert calc.one() == 1\n"},
    )
    model = ScriptedModel(
        [
            [edit("run.py", "== 1", "== 2"), FINISH],
            [edit("calc.py", "return 2", "return 1"), FINISH],
        ]
    )
    request = FixRequest(repository / "py", test_command=("python3", "run.py"), attempts=2)
    run = run_fix(request, chat_factory=lambda _: model, state=tmp_path / "state")
    outcome = drained(run, [])
    assert (outcome.exit_code, outcome.num_attempts) == (0, 2)
    assert outcome.changed_files == ("py/calc.py",)


def test_a_folder_that_a_link_has_replaced_leads_nowhere(tmp_path: Path) -> None:
    repository = make_repository(
        tmp_path / "repo", {"py/calc.py": CALC, "py/test_calc.py": CALC_TEST}
    )
    outside = tmp_path / "outside"
    write(outside, {"calc.py": CALC})
    script = [
        bash(f"mv ../py ../old && ln -s {outside} ../py"),
        edit("calc.py", "return 2", "return 1"),
        FINISH,
    ]
    repair = [edit("calc.py", "return 2", "return 1"), FINISH]
    model = ScriptedModel([script, repair])
    request = FixRequest(repository / "py", attempts=2)
    run = run_fix(request, chat_factory=lambda _: model, state=tmp_path / "state")
    outcome = drained(run, [])
    assert (outcome.exit_code, outcome.num_attempts) == (0, 2)
    assert (outside / "calc.py").read_text() == CALC


def test_tests_in_all_folders_are_run_and_must_stay_green(tmp_path: Path) -> None:
    more = CALC_TEST.replace("CalcTest", "MoreTest").replace("(one(), 1)", "(abs(one()), 2)")
    files = {"calc.py": CALC, "tests/test_calc.py": more, "more/test_b.py": CALC_TEST}
    repository = make_repository(tmp_path / "repo", files)
    (repository / "tests" / "__init__.py").unlink()
    outcome, _, _ = fix(repository, [REPAIR, edit("calc.py", "return 2", "return 1"), FINISH])
    assert outcome.exit_code == 3
    assert "Green before, and now red" in outcome.sentence
    assert "tests/test_calc.MoreTest.test_one" in outcome.sentence


def test_an_environment_behind_a_link_is_used(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    environment = tmp_path / "environments" / "shop"
    words = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(words, check=True, timeout=60)
    packages = next(environment.glob("lib/python3*/site-packages"))
    (packages / "only_there.py").write_text("WORD = 'there'\n")
    (repository / ".venv").symlink_to(environment)
    script = [
        bash(".venv/bin/python -c 'import only_there; print(only_there.WORD)'"),
        REPAIR,
        FINISH,
    ]
    outcome, _, model = fix(repository, script)
    assert outcome.exit_code == 0, outcome.sentence
    assert model.seen[1][-1].content == "there"
    assert (repository / ".venv").readlink() == environment


def test_a_repository_with_packages_of_our_names_is_repaired(tmp_path: Path) -> None:
    files = {
        "agent/__init__.py": "",
        "agent/cli.py": "VALUE = 1\n",
        "tools/__init__.py": "",
        "tools/base.py": "def twice(n):\n    return n + n + 1\n",
        "sandbox.py": "raise ImportError('theirs')\n",
        "tests/test_names.py": (
            "import unittest\n\nfrom agent.cli import VALUE\nfrom tools.base import twice\n\n\n"
            "class NamesTest(unittest.TestCase):\n    def test_twice(self):\n"
            "        self.assertEqual(twice(VALUE), 2)\n"
        ),
    }
    repository = make_repository(tmp_path / "repo", files)
    script = [REPAIR, edit("tools/base.py", "n + n + 1", "n + n"), RUN_TESTS, FINISH]
    outcome, _, _ = fix(repository, script)
    assert outcome.exit_code == 0
    assert outcome.changed_files == ("shop/cart.py", "tools/base.py")


@pytest.mark.slow
def test_a_pytest_project_is_repaired_with_an_interpreter_of_ones_own(tmp_path: Path) -> None:
    tests = "from shop.cart import total\n\n\ndef test_total():\n    assert total(3, 2) == 5\n"
    repository = make_repository(tmp_path / "repo", {"tests/test_cart.py": tests})
    outcome, _, _ = fix(repository, [RUN_TESTS, REPAIR, FINISH], python=plain_python())
    assert (outcome.exit_code, outcome.test_command) == (0, "python -m pytest")
    assert outcome.targets == ("tests/test_cart.py::test_total",)


# --- with a report and green tests


@pytest.fixture
def green(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "repo", {"shop/cart.py": CART.replace("price - tax", "price + tax")}
    )


def test_a_report_on_green_tests_is_shown_by_a_new_test_and_then_repaired(green: Path) -> None:
    repair = edit("shop/cart.py", "return 2 * price", "return max(0, 2 * price)")
    script = [create("tests/test_negative.py", NEW_TEST), FINISH, repair, FINISH]
    outcome, _, model = fix(green, script, issue="double() of a negative price must be {0}.")
    assert outcome.exit_code == 0
    assert outcome.changed_files == ("shop/cart.py", "tests/test_negative.py")
    assert outcome.targets[0].endswith("test_double_of_a_negative_price")
    words = [message.content for message in model.seen[-1] if message.role == "user"]
    assert "double() of a negative price must be {0}." in words[0]
    assert "Your new test shows the bug." in words[1]


def test_the_new_test_cannot_be_weakened_afterwards(green: Path) -> None:
    weaken = edit("tests/test_negative.py", "double(-1), 0", "double(-1), -2")
    script = [create("tests/test_negative.py", NEW_TEST), FINISH, weaken, FINISH]
    outcome, _, _ = fix(green, script, issue="Negative prices are doubled.")
    assert outcome.exit_code == 3
    assert not (green / "tests/test_negative.py").exists()


@pytest.mark.parametrize(
    "first",
    [
        create("tests/test_negative.py", NEW_TEST.replace("(-1), 0", "(-1), -2")),
        edit("tests/test_cart.py", "double(3), 6", "double(3), 7"),
        Say(text="It looks fine to me."),
    ],
)
def test_without_a_red_test_in_new_files_a_report_is_not_worked_on(green: Path, first: Say) -> None:
    before = picture(green)
    script = [first, FINISH] if first.calls else [first]
    outcome, _, _ = fix(green, script, issue="Negative prices are doubled.")
    assert outcome.exit_code == 4
    assert "no new test" in outcome.sentence
    assert picture(green) == before


def test_a_report_on_red_tests_is_given_along(repository: Path) -> None:
    outcome, _, model = fix(repository, [REPAIR, FINISH], issue="The tax is subtracted.")
    assert outcome.exit_code == 0
    assert "<issue>\nThe tax is subtracted.\n</issue>" in model.seen[0][1].content


# --- what is refused, in one sentence, with the repository as it was


def refused(repository: Path, code: int, words: str, **more: Any) -> FixOutcome:
    before = picture(repository)
    outcome, _, model = fix(repository, [REPAIR, FINISH], **more)
    assert outcome.exit_code == code, outcome.sentence
    assert words in outcome.sentence
    assert "\n" not in outcome.sentence
    assert not model.seen
    assert picture(repository) == before
    return outcome


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    write(tmp_path / "plain", {"test_x.py": ""})
    refused(tmp_path / "plain", 2, "not in a git repository")
    refused(tmp_path / "missing", 2, "does not exist")


def test_a_patch_that_could_not_be_written(repository: Path) -> None:
    refused(repository, 2, "is a folder", patch=repository.parent)
    refused(repository, 2, "file of the repository", patch=repository / "shop/cart.py")
    refused(repository, 2, "inside a .git folder", patch=repository / ".git/HEAD", dry_run=True)
    assert not (repository.parent / "state").exists()


def test_no_tests(tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    write(repository, {".git/HEAD": "ref: refs/heads/main\n", "a.py": "x = 1\n"})
    refused(repository, 2, "--test-cmd")
    write(repository, {"tests/__init__.py": ""})
    refused(repository, 2, "ran no tests", test_command=("python", "-m", "unittest"))


def test_a_command_that_is_missing(repository: Path) -> None:
    refused(repository, 2, "no-such-runner: command not found", test_command=("no-such-runner",))


def test_a_command_that_is_missing_in_a_shell_is_named(repository: Path) -> None:
    command = ("sh", "-c", "nosuchcmd x && true")
    refused(repository, 2, "nosuchcmd: command not found", test_command=command)


def test_what_keeps_a_runner_from_running_is_quoted(tmp_path: Path) -> None:
    files = {
        "pytest.ini": "[pytest]\naddopts = --cov=shop --nosuch\n",
        "tests/test_cart.py": "# x\n",
    }
    repository = make_repository(tmp_path / "repo", files)
    refused(repository, 2, "unrecognized arguments: --cov=shop", python=plain_python())


def test_a_file_that_may_not_be_read_is_named() -> None:
    # Not below tmp_path, which is closed to whom root becomes here.
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        repository = make_repository(folder / "repo")
        secret = repository / "secret.txt"
        secret.write_text("mine")
        secret.chmod(0o200)
        program = (
            "import os, sys; from pathlib import Path\n"
            "from agent.fix import run_fix; from agent.request import FixRequest\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"  # root may read everything
            "run = run_fix(FixRequest(Path(sys.argv[1])), chat_factory=lambda _: None,"
            " state=Path(sys.argv[2]))\n"
            "try:\n    while True: next(run)\n"
            "except StopIteration as stop: print(stop.value.exit_code, stop.value.sentence)\n"
        )
        for path in (repository, *repository.rglob("*")):
            if path != secret:
                path.chmod(path.stat().st_mode | 0o077)
        paths = [word for word in sys.path if word]
        done = subprocess.run(
            [sys.executable, "-c", program, str(repository), str(folder / "state")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.startswith(f"2 {secret} cannot be read"), done
        assert done.stdout.count("\n") == 1


def test_tests_that_are_green_already(green: Path) -> None:
    outcome = refused(green, 4, "pass already")
    assert outcome.before is not None
    assert outcome.before.num_passed == 2


def test_tests_that_hang(tmp_path: Path) -> None:
    files = {"tests/test_cart.py": "import time, unittest\n\ntime.sleep(600)\n# TestCase\n"}
    repository = make_repository(tmp_path / "repo", files)
    config = Config(sandbox=SandboxConfig(tests_s=1.0))
    refused(repository, 5, "did not end within 1 s", config=config)


def test_the_time_of_the_run_bounds_the_tests_before_it(tmp_path: Path) -> None:
    files = {"tests/test_cart.py": "import time, unittest\n\ntime.sleep(600)\n# TestCase\n"}
    repository = make_repository(tmp_path / "repo", files)
    config = Config(budget=Budget(max_time_s=2.0))
    refused(repository, 5, "2 seconds are spent and the tests have not ended", config=config)


@pytest.mark.slow
def test_the_time_of_the_run_bounds_the_verdict(repository: Path) -> None:
    before = picture(repository)
    hang = edit("shop/cart.py", "return price - tax", "import time; time.sleep(600)")
    config = Config(budget=Budget(max_time_s=12.0))
    outcome, _, _ = fix(repository, [hang, FINISH], config=config)
    assert outcome.exit_code == 5
    # A machine that is busy enough leaves no time at all.
    within = re.search(r"did not end within (\S+) s|no time left to judge", outcome.sentence)
    assert within is not None, outcome.sentence
    assert float(within[1] or 0) <= 12
    assert picture(repository) == before


def test_a_model_nobody_knows_is_refused_before_anything_slow(repository: Path) -> None:
    before = picture(repository)
    state = repository.parent / "state"
    run = run_fix(FixRequest(repository, model="no-such-model"), state=state)
    outcome = drained(run, [])
    assert outcome.exit_code == 7
    assert "--model FOLDER" in outcome.sentence
    assert not state.exists()
    assert picture(repository) == before


def test_a_model_that_cannot_be_loaded_or_goes_away(repository: Path) -> None:
    before = picture(repository)

    def damaged(_: FixRequest) -> ScriptedModel:
        raise ModelUnavailable("model.safetensors is damaged; download it again.")

    state = repository.parent / "state"
    outcome = drained(run_fix(FixRequest(repository), chat_factory=damaged, state=state), [])
    assert (outcome.exit_code, "damaged" in outcome.sentence) == (7, True)
    gone = Say(error=ModelUnavailable("The engine went away."))
    outcome, _, _ = fix(repository, [RUN_TESTS, gone])
    assert outcome.exit_code == 7
    assert picture(repository) == before
    outcome, _, _ = fix(repository, [REPAIR, gone])
    assert outcome.exit_code == 0  # the tests decide, not how the turn ended


def test_a_bug_of_ours_is_a_sentence_and_a_kept_traceback(repository: Path) -> None:
    before = picture(repository)
    outcome, _, _ = fix(repository, [Say(error=ZeroDivisionError("ours"))])
    assert outcome.exit_code == 1
    path = Path(outcome.sentence.rpartition(" is in ")[2])
    assert "ZeroDivisionError: ours" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert picture(repository) == before


def test_files_that_the_user_changed_meanwhile_are_never_overwritten(repository: Path) -> None:
    def save_from_an_editor(number: int) -> None:
        (repository / "shop/cart.py").write_text(CART + "\n# mine\n")

    model = ScriptedModel([[REPAIR, FINISH]], on_reply=save_from_an_editor)
    run = run_fix(FixRequest(repository), chat_factory=lambda _: model, state=repository.parent)
    outcome = drained(run, [])
    assert (outcome.exit_code, outcome.applied) == (1, False)
    assert "shop/cart.py was changed" in outcome.sentence
    assert (repository / "shop/cart.py").read_text() == CART + "\n# mine\n"
    assert outcome.patch_file is not None
    assert "price + tax" in Path(outcome.patch_file).read_text()


def test_the_repositorys_own_settings_may_only_narrow(tmp_path: Path) -> None:
    text = '[approval]\ndenied_tools = ["bash"]\n[budget]\nmax_steps = 2\nmax_calls = 9999\n'
    text += '[model]\nname = "evil/model"\n'
    repository = make_repository(tmp_path / "repo", {".qwen-agent.toml": text})
    outcome, events, _ = fix(repository, [bash("touch x"), RUN_TESTS, REPAIR, FINISH])
    assert outcome.exit_code == 5
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "budget.max_calls" in notices[0]
    assert "model" in notices[0]


def test_a_denied_call_has_its_own_code_when_nothing_came_of_it(tmp_path: Path) -> None:
    settings = '[approval]\ndenied_tools = ["bash"]\n'
    repository = make_repository(tmp_path / "repo", {".qwen-agent.toml": settings})
    outcome, _, _ = fix(repository, [bash("sed -i s/-/+/ shop/cart.py"), FINISH])
    assert outcome.exit_code == 6
    assert outcome.sentence == "nothing was changed; the settings deny bash"


def test_in_plan_mode_a_plan_is_all_there_is_and_finish_is_accepted_at_once(
    repository: Path,
) -> None:
    before = picture(repository)
    todo = Say((call("todo", items=["[ ] add the tax"]),))
    plan = Say((call("finish", summary="In total(): price + tax.\nThen run the tests."),))
    config = Config(approval=ApprovalConfig(mode="plan"))
    outcome, events, model = fix(repository, [REPAIR, todo, plan, plan], config=config)
    assert (outcome.exit_code, outcome.sentence) == (4, "nothing was changed, in plan mode")
    assert len(model.seen) == 3
    assert "call finish with your plan" in model.seen[1][-1].content
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "The plan: In total(): price + tax.\nThen run the tests." in notices
    assert picture(repository) == before


def test_of_several_codes_the_contract_says_which_wins() -> None:
    for place, code in enumerate(PRECEDENCE):
        assert strongest(set(PRECEDENCE[place:])) == code
    assert PRECEDENCE == (130, 1, 0, 5, 6, 7, 3, 4)


# --- cancelled, and resumed


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_cancelled_run_changes_nothing_and_can_be_resumed(repository: Path, moment: int) -> None:
    before = picture(repository)
    script = [RUN_TESTS, REPAIR, FINISH]
    stopped: list[bool] = []
    model = ScriptedModel([[*script[:moment], Say(hangs=True)]])
    model.on_reply = lambda number: stopped.append(True) if number == moment else None
    state = repository.parent / "state"
    run = run_fix(FixRequest(repository), lambda: bool(stopped), lambda _: model, state)
    outcome = drained(run, [])
    assert outcome.exit_code == 130
    assert picture(repository) == before
    assert [info.exit_code for info in list_sessions(state)] == [130]

    again = ScriptedModel([script])
    outcome = drained(resume_fix(repository, chat_factory=lambda _: again, state=state), [])
    assert outcome.exit_code == 0
    assert again.seen[0][: len(model.seen[-1])] == model.seen[-1]
    assert len(outcome.usages) == 4  # the dropped reply is counted too
    ended = drained(resume_fix(repository, outcome.session_id, state=state), [])
    assert (ended.exit_code, "has ended" in ended.sentence) == (2, True)


def test_nobody_waits_for_a_model_that_is_no_longer_wanted(repository: Path) -> None:
    before = picture(repository)
    is_loading, leave = threading.Event(), threading.Event()
    was_left: list[bool] = []

    def load(_: FixRequest) -> ScriptedModel:
        is_loading.set()
        was_left.append(leave.wait(600))
        return ScriptedModel([[REPAIR, FINISH]])

    state = repository.parent / "state"
    outcome = drained(run_fix(FixRequest(repository), is_loading.is_set, load, state), [])
    assert outcome.exit_code == 130
    assert was_left == [], "it still loads"
    leave.set()
    assert picture(repository) == before
    model = ScriptedModel([[REPAIR, FINISH]])
    assert drained(resume_fix(repository, "", lambda: False, lambda _: model, state), []).applied


def test_a_run_that_was_cancelled_before_it_began_leaves_nothing(repository: Path) -> None:
    outcome, _, _ = fix(repository, [REPAIR, FINISH], cancel=lambda: True)
    assert outcome.exit_code == 130
    assert not (repository.parent / "state").exists()


def test_a_cancelled_command_is_not_run_again_on_resume(repository: Path) -> None:
    def is_running() -> bool:
        return any(repository.parent.glob("state/sessions/*/tree/log.txt"))

    wait = bash("echo once >> log.txt; sleep 600")
    model = ScriptedModel([[wait, FINISH]])
    state = repository.parent / "state"
    outcome = drained(run_fix(FixRequest(repository), is_running, lambda _: model, state), [])
    assert outcome.exit_code == 130
    again = ScriptedModel([[wait, REPAIR, FINISH]])
    run = resume_fix(repository, "", chat_factory=lambda _: again, state=state)
    # What the cut call had written is gone: the model goes on with the recorded files.
    assert drained(run, []).changed_files == ("shop/cart.py",)
    assert again.seen[0][-1].content == prompt("interrupted")


def test_leaving_a_run_half_way_leaves_no_lock(repository: Path) -> None:
    state = repository.parent / "state"
    model = ScriptedModel([[REPAIR, FINISH]])
    run = run_fix(FixRequest(repository), chat_factory=lambda _: model, state=state)
    next(run)
    run.close()
    outcome = drained(resume_fix(repository, chat_factory=lambda _: model, state=state), [])
    assert outcome.exit_code == 0


def test_direct_is_only_what_a_person_typed(repository: Path) -> None:
    outcome, _, _ = fix(repository, [REPAIR, RUN_TESTS, FINISH], sandbox="direct")
    assert (outcome.exit_code, outcome.sandbox) == (0, "direct")
    assert FixRequest(repository).sandbox == "bubblewrap"


def test_a_git_worktree_is_repaired(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "worktree"
    words = ["git", "worktree", "add", "-q", "-b", "side", str(tree)]
    subprocess.run(words, cwd=repository, check=True, timeout=30)
    script = [bash("git log --oneline && touch .git/x; touch .git || true"), REPAIR, FINISH]
    outcome, _, model = fix(tree, script)
    assert outcome.exit_code == 0
    assert " first" in model.seen[1][-1].content
    assert (tree / ".git").is_file()


def test_a_read_only_repository_is_refused_unless_only_a_patch_is_wanted(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere, so what the system would say to others is put in its place.
    really = os.access
    monkeypatch.setattr(
        os, "access", lambda p, m, **more: Path(p) != repository and really(p, m, **more)
    )
    refused(repository, 2, "read-only")
    outcome, _, _ = fix(repository, [REPAIR, FINISH], dry_run=True)
    assert outcome.exit_code == 0
