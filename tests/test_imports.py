"""The shape of the house: who may import whom, what stays light, how long a file may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "evals": {"agent", "inference", "tools", "sandbox"},
    "agent": {"inference", "tools", "sandbox"},
    "tools": {"sandbox"},
    "inference": set(),
    "sandbox": set(),
}
LIGHT = [
    "agent.cli",
    "agent.loop",
    "agent.frontends.acp.agent_v1",
    "agent.frontends.acp.start",
    "agent.frontends.cache",
    "agent.frontends.doctor",
    "agent.frontends.fix",
    "agent.frontends.models",
    "agent.frontends.plan",
    "agent.frontends.talk_lines",
    "agent.open_talk",
    "agent.frontends.repl.start",
    *sorted(f"tools.{path.stem}" for path in (ROOT / "tools").glob("[a-z]*.py")),
    *sorted(f"sandbox.{path.stem}" for path in (ROOT / "sandbox").glob("[a-z]*.py")),
]
HEAVY = ("torch", "transformers", "accelerate", "tokenizers", "safetensors")
MAX_LINES = 400


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that `path` imports, at the top or inside a function, with its line."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            yield node.module or "", node.lineno


def heavy_modules_after(code: str) -> str:
    """Run `code` in a fresh interpreter; return which heavy packages it left loaded."""
    report = f"; import sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert sources(room)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(room)
        for name, line in imports(path)
        if (top := name.partition(".")[0]) in MAY_IMPORT and top not in MAY_IMPORT[room] | {room}
    ]
    assert wrong == []


def test_no_room_imports_the_tests() -> None:
    names = [name for room in MAY_IMPORT for path in sources(room) for name, _ in imports(path)]
    assert not [name for name in names if name.partition(".")[0] in ("tests", "conftest")]


def test_only_the_command_line_knows_the_front_ends() -> None:
    knowing = {
        path.relative_to(ROOT).as_posix()
        for path in sources("agent")
        if "frontends" not in path.parts
        and any(name.startswith("agent.frontends") for name, _ in imports(path))
    }
    assert knowing <= {"agent/cli.py"}


def test_tools_sandbox_and_front_ends_load_no_torch() -> None:
    assert heavy_modules_after(f"import {', '.join(LIGHT)}") == ""


def test_help_loads_no_torch() -> None:
    code = (
        "import contextlib, agent.cli\n"
        "with contextlib.suppress(SystemExit): agent.cli.main(['--help'])\n"
    )
    assert heavy_modules_after(code + "pass") == ""


def test_the_check_above_would_see_torch() -> None:
    assert "torch" in heavy_modules_after("import inference.gated_delta")


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_file_is_too_long_to_read(room: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(room)}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_every_source_file_says_what_it_is() -> None:
    paths = [path for room in MAY_IMPORT for path in sources(room)]
    assert [path for path in paths if not ast.get_docstring(ast.parse(path.read_text()))] == []
