"""What other programs read of a run: valid in their formats, and no way in for foreign text."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from agent.arguments import parse
from agent.errors import UsageError
from agent.events import ReplyEnded, RunStarted
from agent.frontends.asked import request_of
from agent.frontends.changes import Change, changes_of
from agent.frontends.fix import as_json
from agent.frontends.github import (
    GithubConsole,
    add_outputs,
    annotations,
    command,
    summary_of,
)
from agent.frontends.junit import junit_of, split_id
from agent.frontends.output import harmless
from agent.frontends.places import Place, place_of
from agent.frontends.report import schema_text
from agent.frontends.report_files import report_files
from agent.frontends.sarif import deleted_region, sarif_of
from agent.outcome import WORDS, FixOutcome, Tests
from agent.settings import Config
from inference.messages import Usage
from sandbox.checkpoint import Checkpoint
from tests.agent.fakes import make_repository, write
from tests.formats import PUBLISHED, check_junit, check_sarif
from tools.test_report import TestCase

NASTY = "a\x00\x1b[31m\ud800\ufffe]]></failure>\r\n::set-output name=x::y\n##[add-path]/tmp%0A"
RED = TestCase(
    "tests/test_cart.py::test_total[::error::x]",
    "failed",
    f"AssertionError: 1 != 5 {NASTY}",
    f"tests/test_cart.py:7: in test_total\n    assert 1 == 5\nE   {NASTY}\n",
)
GREEN = TestCase("tests.test_cart.CartTest.test_double", "passed")
SKIPPED = TestCase("tests/test_cart.py::test_other", "skipped", "not here")
PATCH = """\
diff --git a/shop/cart.py b/shop/cart.py
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -5,2 +5,2 @@
 def total(price, tax):
-    return price - tax
+    return price + tax
"""


def outcome_of(exit_code: int, **more: Any) -> FixOutcome:
    """An outcome as a run with one red test has it."""
    before = Tests(1, (RED.id,), (RED, GREEN, SKIPPED))
    known: dict[str, Any] = {"before": before, "test_command": "pytest -q", "patch": PATCH}
    known["after"] = (
        Tests(2, (), (replace(RED, outcome="passed"), GREEN)) if not exit_code else None
    )
    sentence = f"It came to {NASTY}"
    return FixOutcome(exit_code, sentence, "/repo", "nano", 0, **{**known, **more})


# --- JUnit


@pytest.mark.parametrize("exit_code", WORDS)
def test_junit_is_valid_and_red_exactly_when_the_run_is(exit_code: int) -> None:
    content = junit_of(outcome_of(exit_code))
    check_junit(content)
    suite = ElementTree.fromstring(content)[0]
    num_red = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    assert (num_red == 0) == (exit_code == 0)
    assert num_red == len(suite.findall(".//failure")) + len(suite.findall(".//error"))
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))


def test_a_run_that_did_not_begin_is_one_case_of_junit() -> None:
    content = junit_of(FixOutcome(2, "found no tests", "/repo", "", 0))
    check_junit(content)
    case = ElementTree.fromstring(content).findall(".//testcase")
    assert [one.attrib["name"] for one in case] == ["verdict"]
    assert case[0][0].attrib == {"message": "found no tests", "type": "usage"}


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ("tests/a.py::C::test_f[x::y.z]", ("tests/a.py::C", "test_f[x::y.z]")),
        ("tests.a.C.test_f", ("tests.a.C", "test_f")),
        ("npm test", ("qwen-agent fix", "npm test")),
        ("sh -c ./run.sh", ("qwen-agent fix", "sh -c ./run.sh")),
        ("[.]", ("qwen-agent fix", "[.]")),
    ],
)
def test_a_test_has_a_holder_and_a_name(test: str, parts: tuple[str, str]) -> None:
    assert split_id(test) == parts


# --- places and changes


@pytest.mark.parametrize(
    ("details", "place"),
    [
        (
            '  File "tests/t.py", line 5, in test\n    f()\n  File "shop.py", line 2, in f',
            "shop.py:2",
        ),
        ('  File "tests/t.py", line 5, in test\n  File "/usr/lib/x.py", line 9', "tests/t.py:5"),
        ("tests/t.py:12: in test\n    f()\nshop.py:3: ValueError", "shop.py:3"),
        ('  File "../../etc/passwd.py", line 5', "tests/t.py"),
        ('  File "<string>", line 5', "tests/t.py"),
        ("", "tests/t.py"),
    ],
)
def test_a_red_test_points_into_the_repository_or_nowhere(details: str, place: str) -> None:
    path, _, line = place.partition(":")
    case = TestCase("tests/t.py::test", "failed", "", details)
    assert place_of(case) == Place(path, int(line) if line else None)
    assert place_of(case, "py") == Place(f"py/{path}", int(line) if line else None)
    assert place_of(TestCase("npm test", "failed")) is None


OLD = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine"
EDITS = {
    "a": (OLD, OLD.replace("two", "2").replace("eight", "8\n8b")),
    "end/gets newline": (OLD, OLD.replace("nine", "9\n")),
    "end/gets line": (OLD, f"{OLD}\nten"),
    "like headers": (f"{OLD}\n", f"zero\n{OLD}\n-- end\n++ end\n"),
    "end/loses newline": (f"{OLD}\n", OLD.replace("five\n", "")),
    "shorter": (OLD, "four"),
    "filled": ("", OLD),
    "emptied": (OLD, ""),
    'odd "\tname\u00e9 .txt': ("a\rb\n", "a\rc\n"),
}


def test_the_changes_of_a_patch_make_the_new_files_of_the_old(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write(tree, {name: "" for name in EDITS})
    for name, (old, _) in EDITS.items():
        (tree / name).write_bytes(old.encode())
    checkpoint = Checkpoint.create(tmp_path / "git", tree)
    base = checkpoint.save("old")
    for name, (_, new) in EDITS.items():
        (tree / name).write_bytes(new.encode())
    changes = list(changes_of(checkpoint.diff(base)))
    assert {change.path for change in changes} == set(EDITS)
    for name, (old, new) in EDITS.items():
        assert mended(old, [change for change in changes if change.path == name]) == new, name


def mended(text: str, changes: list[Change]) -> str:
    """Carry the changes out by their regions, as SARIF has them, from the last to the first."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for change in reversed(changes):
        region = deleted_region(change)
        start = starts[region["startLine"] - 1] + region["startColumn"] - 1
        end = starts[region["endLine"] - 1] + region["endColumn"] - 1
        text = text[:start] + change.text + text[end:]
    return text


# --- SARIF


@pytest.mark.parametrize("exit_code", WORDS)
def test_sarif_is_valid_and_offers_only_a_good_repair(exit_code: int) -> None:
    log = check_sarif(sarif_of(outcome_of(exit_code)))
    run = log["runs"][0]
    red, repair = run["results"]
    assert (red["ruleId"], red["level"]) == ("red-test", "error")
    region = red["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 7, "endLine": 7}
    assert repair["ruleId"] == ("rejected-repair" if exit_code else "repair")
    assert ("fixes" in repair) == (exit_code == 0)
    assert run["invocations"][0]["exitCode"] == exit_code
    if exit_code == 0:
        change = repair["fixes"][0]["artifactChanges"][0]
        assert change["artifactLocation"]["uri"] == "shop/cart.py"
        assert change["replacements"] == [
            {
                "deletedRegion": {"startLine": 6, "startColumn": 1, "endLine": 7, "endColumn": 1},
                "insertedContent": {"text": "    return price + tax\n"},
            }
        ]


def test_lines_that_were_not_read_whole_are_no_fix() -> None:
    patch = PATCH.replace("price + tax", "price + '\ufffd'")
    log = check_sarif(sarif_of(outcome_of(0, patch=patch)))
    assert "fixes" not in log["runs"][0]["results"][1]


# --- GitHub Actions


def test_a_command_holds_its_text_and_nothing_after_it() -> None:
    line = command("error", "100%\r\n::warning::x", title="a:b,c%\n", file="x.py", line="3")
    assert line == ("::error title=a%3Ab%2Cc%25%0A,file=x.py,line=3::100%25%0A::warning::x")


@pytest.mark.parametrize("exit_code", WORDS)
def test_annotations_are_one_line_each_and_ten_at_most(exit_code: int) -> None:
    many = tuple(replace(RED, id=f"t.py::test_{number}\n") for number in range(30))
    before = Tests(0, tuple(case.id for case in many), many)
    lines = list(annotations(outcome_of(exit_code, before=before)))
    kind = "::error " if exit_code else "::notice "
    assert all(line.startswith(kind) and "\n" not in line and "\r" not in line for line in lines)
    assert len(lines) == (10 if exit_code else 2)
    assert "file=shop/cart.py,line=6::" in lines[1] or "file=tests/test_cart.py,line=7" in lines[1]


@pytest.mark.parametrize(
    "text",
    [
        "::error::x",
        "  \t::error::x",
        "a\n::x::",
        "a\r\u00a0::x::",
        "x ##[add-path]y",
        "\u3000::x::",
    ],
)
def test_no_line_of_others_is_a_command(text: str) -> None:
    shown = harmless(text)
    for line in shown.replace("\r", "\n").split("\n"):
        assert not line.strip().startswith("::")
        assert "##[" not in line
    assert harmless("tests/a.py::test_f [ok] #[x]") == "tests/a.py::test_f [ok] #[x]"


def test_what_a_model_says_in_a_step_is_words(tmp_path: Path) -> None:
    usage = Usage(1, 0, 1, 1, 0.0, 0.0)
    with (tmp_path / "log").open("w+") as stream:
        console = GithubConsole(stream)
        console.show(ReplyEnded(usage, "Done.\n  ::add-mask::x\n##[set-env name=A]b"))
        console.finish(outcome_of(3))
        stream.seek(0)
        lines = stream.read().split("\n")
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert all(line.startswith("::error title=") for line in commands)
    assert len(commands) == 2
    assert not [line for line in lines if "##[" in line and not line.startswith("::error")]
    assert "| ::add-mask::x" in lines


def test_a_step_without_isolation_has_a_warning(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        for level in ("full", "direct"):
            GithubConsole(stream).show(RunStarted("s1", "/repo", "pytest", level))
        stream.seek(0)
        warnings = [line for line in stream if line.startswith("::warning ")]
    assert len(warnings) == 1
    assert "without a sandbox" in warnings[0]


def test_json_holds_no_command_and_says_the_same() -> None:
    value = {"patch": "+ ##[add-path]x \\##[y] ##["}
    assert "##[" not in as_json(value)
    assert json.loads(as_json(value, indent=2)) == value


def test_foreign_text_in_the_summary_is_not_markup() -> None:
    patch = f"{PATCH}+</pre><script>x</script>\n# heading @someone\n"
    text = summary_of(outcome_of(3, patch=patch))
    assert text.count("</pre>") == text.count("<pre>") == 3
    assert "<script>" not in text
    outside = text.split("<pre>")
    assert not any("@someone" in part.partition("</pre>")[2] for part in outside[1:])


def test_an_output_cannot_set_another(tmp_path: Path) -> None:
    file = tmp_path / "output"
    outcome = outcome_of(0, patch_file="/x/a\noutcome=red\nb.patch", commit="abc", applied=True)
    add_outputs(outcome, {"GITHUB_OUTPUT": str(file)})
    values = read_outputs(file.read_text())
    assert values == {
        "exit-code": "0",
        "outcome": "fixed",
        "applied": "true",
        "patch": "/x/a\noutcome=red\nb.patch",
        "commit": "abc",
    }


def read_outputs(text: str) -> dict[str, str]:
    """Read the file of outputs as the runner does."""
    values, lines = {}, iter(text.split("\n"))
    for line in lines:
        if line:
            name, _, mark = line.partition("<<")
            assert mark, "every value is given with a mark"
            values[name] = "\n".join(iter(lambda mark=mark: next(lines), mark))
    return values


def test_a_patch_is_not_printed_where_its_lines_would_be_obeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("-", "/dev/stdout"):
        monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
        assert request_of(parse(["fix", "--patch", name]), Config()).patch is None
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        with pytest.raises(UsageError, match="GitHub Actions obeys lines of a patch"):
            request_of(parse(["fix", "--patch", name]), Config())


# --- where they go


def test_a_report_goes_to_no_file_of_the_repository(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    for flag in ("--junit", "--sarif"):
        for name in (repository / "shop/cart.py", repository / ".git/x", "-", tmp_path):
            with pytest.raises(UsageError, match="name a"):
                report_files(parse(["fix", str(repository), flag, str(name)]))
        files = report_files(parse(["fix", flag, str(repository / "report")]))
        assert repository / "report" in (files.junit, files.sarif)
    (tmp_path / "last.xml").touch()
    report_files(parse(["fix", "--junit", str(tmp_path / "last.xml")]))  # it is written over


def test_two_things_never_go_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    one, other = str(tmp_path / "a"), str(tmp_path / "link")
    for words in (["--junit", one, "--sarif", other], ["--patch", other, "--junit", one]):
        with pytest.raises(UsageError, match=r"are one file, .*; name two"):
            report_files(parse(["fix", *words]))
    report_files(parse(["fix", "--junit", "/dev/null", "--patch", "/dev/null", "--sarif", one]))


def test_a_report_that_cannot_be_written_makes_the_run_an_error(tmp_path: Path) -> None:
    files = report_files(parse(["fix", "--junit", str(tmp_path / "a.xml")]))
    (tmp_path / "a.xml").mkdir()
    outcome = files.write(outcome_of(0, applied=True))
    assert outcome.exit_code == 1
    assert outcome.sentence.endswith("the repair was applied")


def test_the_published_schema_is_that_of_the_document() -> None:
    assert PUBLISHED.read_text() == f"{schema_text()}\n"
