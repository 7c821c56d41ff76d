"""What `fix` promises to a script, case by case: the process is run as a script would run it.

In every case the exit code is the one in docs/fix.md, the document, the JUnit file and the SARIF
file are valid in their formats and agree with it, the repository is as it was or has the whole
repair, its index and branches are as they were, and no process is left.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.agent.fakes import CART, TESTS, make_repository, picture
from tests.formats import check_junit, check_report, check_sarif
from tests.plain import plain_python

ROOT = Path(__file__).parent.parent.parent
WORDS = {0: "fixed", 2: "usage", 3: "red", 4: "nothing", 5: "budget", 6: "denied", 7: "no_model"}
FINISH = ["finish", {"summary": "Mended the sum."}]
Files = Mapping[str, str | None]


def edit(path: str, old: str, new: str) -> list[Any]:
    """A call that edits a file."""
    values = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
    return ["str_replace_editor", values]


def bash(command: str) -> list[Any]:
    """A call that runs a command."""
    return ["bash", {"command": command}]


@dataclass(frozen=True)
class Project:
    """A repository with one bug, in one language."""

    files: Files
    """On top of the shop of the fakes; None takes one of its files away."""
    path: str
    """The file with the bug."""
    bug: str
    mended: str
    tool: str
    """The program that its tests are run with."""
    words: tuple[str, ...] = ()
    """More arguments of `fix`."""

    @property
    def repair(self) -> list[Any]:
        """The call that mends it."""
        return edit(self.path, self.bug, self.mended)

    @property
    def wrong(self) -> list[Any]:
        """A call that changes the right line and mends nothing."""
        return edit(self.path, self.bug, self.bug.replace("-", "*"))


NO_SHOP: Files = {
    "shop/__init__.py": None,
    "shop/cart.py": None,
    "tests/__init__.py": None,
    "tests/test_cart.py": None,
}
UNITTEST = Project({}, "shop/cart.py", "price - tax", "price + tax", "python3")
PYTEST = Project(
    {
        "tests/test_cart.py": (
            "from shop.cart import double, total\n\n"
            "def test_total() -> None:\n    assert total(3, 2) == 5\n\n"
            "def test_double() -> None:\n    assert double(3) == 6\n"
        )
    },
    "shop/cart.py",
    "price - tax",
    "price + tax",
    "python3",
    ("--python", "{plain}"),
)
NODE = Project(
    {
        **NO_SHOP,
        "package.json": '{"name": "cart", "scripts": {"test": "node --test"}}\n',
        "cart.js": "exports.total = (price, tax) => price - tax;\n",
        "cart.test.js": (
            "const test = require('node:test');\nconst assert = require('node:assert');\n"
            "const { total } = require('./cart');\n"
            "test('total', () => assert.strictEqual(total(3, 2), 5));\n"
            "test('a number', () => assert.strictEqual(typeof total(1, 1), 'number'));\n"
        ),
    },
    "cart.js",
    "price - tax",
    "price + tax",
    "npm",
)
GO = Project(
    {
        **NO_SHOP,
        "go.mod": "module cart\n\ngo 1.21\n",
        "cart.go": "package cart\n\nfunc Total(price, tax int) int { return price - tax }\n",
        "cart_test.go": (
            'package cart\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) {\n'
            '\tif Total(3, 2) != 5 {\n\t\tt.Fatal("not 5")\n\t}\n}\n'
        ),
    },
    "cart.go",
    "price - tax",
    "price + tax",
    "go",
)
MAKE = Project(
    {
        **NO_SHOP,
        "Makefile": "test:\n\tsh check.sh\n",
        "cart.py": "def total(price, tax):\n    return price - tax\n",
        "check.sh": "python3 -c 'from cart import total; assert total(3, 2) == 5'\n",
    },
    "cart.py",
    "price - tax",
    "price + tax",
    "make",
)
PROJECTS = {"unittest": UNITTEST, "pytest": PYTEST, "node": NODE, "go": GO, "make": MAKE}


@dataclass(frozen=True)
class Case:
    """One way a run can go."""

    project: str
    exit_code: int
    calls: tuple[list[Any], ...] = ()
    """What the model does; `repair` and `wrong` are the project's own."""
    words: tuple[str, ...] = ()
    files: Files = field(default_factory=dict)
    """On top of the project's."""
    applied: bool | None = None
    """Whether the repair is in the files; if left out, by the exit code."""


GOOD = (["repair"], ["finish", {"summary": "Mended the sum."}])
BAD = (["wrong"], ["finish", {"summary": "Mended the sum."}])
GREEN = {"shop/cart.py": CART.replace("- tax", "+ tax")}
NAP = f"sleep 987.{os.getpid():07d}"
"""What no test in a process beside runs."""
CASES = {
    **{f"{name} mended": Case(name, 0, GOOD) for name in PROJECTS},
    **{f"{name} still red": Case(name, 3, BAD) for name in PROJECTS},
    **{f"{name} unchanged": Case(name, 4, (FINISH,)) for name in PROJECTS},
    **{
        f"{name} at a limit, unmended": Case(name, 5, (["run_tests", {}],), ("--max-calls", "1"))
        for name in ("unittest", "node", "go")
    },
    **{
        f"{name} at a limit, mended": Case(name, 0, (["repair"],), ("--max-turns", "1"))
        for name in ("unittest", "node", "make")
    },
    **{
        f"{name} dry run": Case(name, 0, GOOD, ("--dry-run",), applied=False)
        for name in ("pytest", "node")
    },
    "tokens spent": Case("unittest", 5, (["wrong"], FINISH), ("--max-tokens", "1")),
    "tests removed": Case("unittest", 3, (bash("rm -r tests"), FINISH)),
    "test of node weakened": Case("node", 3, (edit("cart.test.js", "2), 5", "2), 1"), FINISH)),
    "check of make weakened": Case("make", 3, (edit("check.sh", "== 5", "== 1"), FINISH)),
    "green already": Case("unittest", 4, files=GREEN),
    "no tests": Case("unittest", 2, files={name: None for name in NO_SHOP if "tests/" in name}),
    "no such command": Case("make", 2, words=("--test-cmd", "no-such-runner")),
    "bad words": Case("unittest", 2, words=("--attempts", "0")),
    "no such commit": Case("unittest", 2, words=("--base", "nowhere")),
    "tool denied": Case("unittest", 6, (["wrong"], bash("true"), FINISH), ("--config-denies",)),
    "tests hang": Case(
        "unittest",
        5,
        words=("--max-time", "2"),
        files={"tests/test_slow.py": "import time\ntime.sleep(60)\n"},
    ),
    "a process is left behind": Case("make", 0, (bash(f"{NAP} & setsid {NAP} &"), *GOOD)),
}


def files_of(case: Case, project: Project) -> dict[str, str]:
    """The files of a repository, with those taken away that the case has no use for."""
    shop = {"shop/__init__.py": "", "shop/cart.py": CART}
    tests = {"tests/__init__.py": "", "tests/test_cart.py": TESTS}
    files: dict[str, str | None] = {**shop, **tests, **project.files, **case.files}
    return {name: text for name, text in files.items() if text is not None}


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    exit_code: int
    document: str
    words: str
    folder: Path


def run_case(case: Case, project: Project, repository: Path, variables: dict[str, str]) -> Ended:
    """Run `fix --json` with a scripted model, and all files of reports beside the repository."""
    folder = repository.parent
    own = {"repair": project.repair, "wrong": project.wrong}
    script = [own.get(call[0], call) for call in case.calls] or [FINISH]
    (folder / "script.json").write_text(json.dumps(script))
    settings = folder / "config/qwen-agent/config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    words = [*project.words, *case.words]
    if "--config-denies" in words:
        words.remove("--config-denies")
        settings.write_text('[approval]\ndenied_tools = ["bash"]\n')
    words = [word.replace("{plain}", str(plain_python())) for word in words]
    reports = ("--junit", f"{folder}/junit.xml", "--sarif", f"{folder}/fix.sarif")
    driver = [sys.executable, "-m", "tests.agent.driver", f"{folder}/script.json"]
    done = subprocess.run(
        [*driver, str(repository), "--json", *reports, *words],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ended(done.returncode, done.stdout, done.stderr, folder)


def make_case(case: Case, project: Project, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Make the repository of a case, and the environment of its run."""
    if shutil.which(project.tool) is None:
        pytest.skip(f"{project.tool} is not on this machine")
    repository = make_repository(tmp_path / "repo", files_of(case, project))
    kept = files_of(case, project)
    for name in [name for name in NO_SHOP if name not in kept]:
        (repository / name).unlink()
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "as the case has it", "--allow-empty")
    names = {"XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    return repository, {name: str(tmp_path / value) for name, value in names.items()}


def git(repository: Path, *words: str) -> str:
    person = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *person, *words], cwd=repository, check=True, capture_output=True, timeout=30
    )
    return done.stdout.decode()


def is_running(words: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if words.encode() in path.read_bytes().replace(b"\0", b" "):
                return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_keeps_its_promises(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    project = PROJECTS[case.project]
    repository, variables = make_case(case, project, tmp_path)
    before = picture(repository)
    ended = run_case(case, project, repository, variables)
    assert ended.exit_code == case.exit_code, ended.words
    report = check_report(ended.document)
    assert (report["exit_code"], report["outcome"]) == (case.exit_code, WORDS[case.exit_code])
    assert report["sentence"]
    applied = case.exit_code == 0 if case.applied is None else case.applied
    assert report["applied"] == applied
    after = picture(repository)
    if applied:
        text = files_of(case, project)[project.path].replace(project.bug, project.mended)
        assert after.pop(project.path) == text.encode()
        before.pop(project.path)
    assert after == before, "all of the repair, and nothing else, is in the repository"
    check_files(ended.folder, report)
    assert not is_running(str(repository))
    assert not is_running(NAP)


def check_files(folder: Path, report: dict[str, Any]) -> None:
    """Make sure that the files for other programs are valid and say what the document says."""
    junit, sarif = folder / "junit.xml", folder / "fix.sarif"
    check_junit(junit.read_bytes())
    suites = ElementTree.fromstring(junit.read_bytes())
    num_red = int(suites.attrib["failures"]) + int(suites.attrib["errors"])
    assert (num_red == 0) == (report["exit_code"] == 0)
    run = check_sarif(sarif.read_bytes())["runs"][0]
    assert run["invocations"][0]["exitCode"] == report["exit_code"]
    rules = [result["ruleId"] for result in run["results"]]
    failed = report["tests_before"]["failed"] if report["tests_before"] else []
    assert rules.count("red-test") == len(failed)
    wanted = "repair" if report["exit_code"] == 0 else "rejected-repair"
    assert set(rules) - {"red-test"} == ({wanted} if report["patch"] else set())


def test_a_step_of_github_actions_gets_annotations_summary_and_outputs(tmp_path: Path) -> None:
    evil = CART.replace("return price - tax", 'raise ValueError("x\\n::error::evil")')
    case = Case("unittest", 3, (edit("shop/cart.py", "ValueError", "TypeError"), FINISH))
    case = Case(case.project, 3, case.calls, files={"shop/cart.py": evil})
    repository, variables = make_case(case, UNITTEST, tmp_path)
    files = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    step = {name: str(tmp_path / value) for name, value in files.items()}
    ended = run_case(case, UNITTEST, repository, {**variables, **step, "GITHUB_ACTIONS": "true"})
    assert ended.exit_code == 3
    lines = (ended.words + ended.document).split("\n")
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert [line.partition(" ")[0] for line in commands] == ["::error", "::error"]
    assert "file=shop/cart.py,line=5::" in commands[1]
    assert "evil" not in commands[1] or "%0A::error::evil" in commands[1]
    assert "exit-code<<" in (tmp_path / "output").read_text()
    assert "### qwen-agent fix: red" in (tmp_path / "summary").read_text()


@pytest.mark.slow
def test_only_what_turned_red_since_a_commit_is_mended(tmp_path: Path) -> None:
    old = TESTS + "\n    def test_old(self) -> None:\n        self.assertEqual(double(1), 9)\n"
    files = {"tests/test_cart.py": old, "shop/cart.py": CART.replace("- tax", "+ tax")}
    case = Case("unittest", 0, GOOD, ("--base", "HEAD^", "--commit"), files)
    repository, variables = make_case(case, UNITTEST, tmp_path)
    (repository / "shop/cart.py").write_text(CART)
    git(repository, "commit", "-qam", "break it")
    ended = run_case(case, UNITTEST, repository, variables)
    assert ended.exit_code == 0, ended.words
    report = check_report(ended.document)
    assert report["targets"] == ["tests.test_cart.CartTest.test_total"]
    assert report["tests_after"]["failed"] == ["tests.test_cart.CartTest.test_old"]
    assert git(repository, "log", "-1", "--format=%H %s").split(" ", 1) == [
        report["commit"],
        "Mended the sum.\n",
    ]
    assert git(repository, "status", "--porcelain") == ""
    messages = next(tmp_path.glob("state/qwen-agent/sessions/*/journal.jsonl")).read_text()
    assert "These tests passed at HEAD^. Changed since then: shop/cart.py." in messages
    again = run_case(Case("unittest", 4, GOOD, ("--base", "HEAD")), UNITTEST, repository, variables)
    assert again.exit_code == 4
    assert "no test that is red now is green at HEAD" in again.words


@pytest.mark.slow
def test_a_repair_on_a_branch_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    case = Case("unittest", 0, GOOD, ("--branch", "fix/total"))
    repository, variables = make_case(case, UNITTEST, tmp_path)
    files = {name: data for name, data in picture(repository).items() if ".git/" not in name}
    ended = run_case(case, UNITTEST, repository, variables)
    assert ended.exit_code == 0, ended.words
    report = check_report(ended.document)
    assert report["applied"] is False
    assert git(repository, "rev-parse", "fix/total").strip() == report["commit"]
    assert f"committed as {report['commit']}" in ended.words
    assert "price + tax" in git(repository, "show", "fix/total:shop/cart.py")
    now = {name: data for name, data in picture(repository).items() if ".git/" not in name}
    assert now == files
    assert git(repository, "status", "--porcelain") == ""
