"""What an installation gives a stranger: the wheel, its metadata, the lock, the set-up's words."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ROOMS = ("agent", "inference", "tools", "sandbox", "evals")
CARRIED = (*ROOMS, "pyproject.toml", "README.md", "LICENSE")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(requirement: str) -> str:
    """The name in `torch>=2.11`, as an index spells it."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_python_package_of_the_tree_is_listed_for_the_wheel() -> None:
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == found


def test_the_lock_pins_every_direct_dependency_of_a_cpu_installation() -> None:
    direct = project()["project"]["dependencies"]
    direct += project()["project"]["optional-dependencies"]["dev"]
    assert {name_of(entry) for entry in direct} <= pins().keys()


def test_the_lock_names_no_package_of_cuda_but_the_compiler_that_tests_interpret() -> None:
    assert not [name for name in pins() if re.match(r"nvidia|cuda|fla", name)]
    assert pins()["torch"] == "2.13.0"


def test_the_lock_pins_every_indirect_dependency_too() -> None:
    cuda = re.compile(r"nvidia|cuda|triton")  # what a CUDA build of torch adds
    extras = project()["project"]["optional-dependencies"]
    names = [Requirement(entry) for entry in project()["project"]["dependencies"] + extras["dev"]]
    reached: set[str] = set()
    while names:
        requirement = names.pop()
        name = name_of(requirement.name)
        if name in reached or cuda.match(name):
            continue
        reached.add(name)
        for entry in importlib.metadata.requires(name) or ():
            needed = Requirement(entry)
            if any(
                needed.marker is None or needed.marker.evaluate({"extra": extra})
                for extra in ("", *requirement.extras)
            ):
                names.append(needed)
    assert reached - pins().keys() == set()


def test_the_cuda_extra_holds_the_recurrence_kernels() -> None:
    extra = project()["project"]["optional-dependencies"]["cuda"]
    assert {name_of(entry) for entry in extra} == {"torch", "fla-core"}


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert re.findall(r"^  make ([a-z-]+)", done.stdout, re.M) == phony.split()[1:]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the set-up with a PATH that has no apt, bwrap or rg."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / ".ci", tree / ".ci")
    shutil.copy(ROOT / "constraints.txt", tree)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("bash", "dirname", "env", "git", "id", "ln", "mkdir", "rm"):
        found = shutil.which(name)
        assert found
        (commands / name).symlink_to(found)
    return tree


def set_up(tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(tree.parent / "bin"), "HOME": str(tree.parent)} | variables
    return subprocess.run(
        [tree / ".ci" / "setup", "run"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("set-up: error: ")
    assert all(word in line for word in words), line


def test_set_up_without_a_new_enough_python_says_which_one_it_wants(bare: Path) -> None:
    assert_one_sentence(set_up(bare), "3.11", "PYTHON=")


def test_set_up_with_a_python_that_makes_no_environments_names_the_package(bare: Path) -> None:
    half = bare.parent / "bin" / "python3"
    half.write_text(
        f'#!{shutil.which("bash")}\ncase "$2" in *ensurepip*) exit 1;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    half.chmod(0o755)
    assert_one_sentence(set_up(bare), "python3-venv")
    assert not (bare / ".venv").exists()


@pytest.mark.slow
def test_set_up_without_bubblewrap_or_an_index_says_what_to_install(bare: Path) -> None:
    done = set_up(bare, PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert_one_sentence(done, "bubblewrap", "apt-get install")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that no build folder is left in the tree."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in CARRIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("qwen_agent_local-*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


@pytest.mark.slow
def test_the_wheel_holds_every_source_file_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {name for name in wheel.namelist() if name.endswith(".py")}
    expected = {
        path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")
    }
    assert modules == expected
    assert {name.partition("/")[0] for name in wheel.namelist()} - set(ROOMS) == {
        f"qwen_agent_local-{project()['project']['version']}.dist-info"
    }


@pytest.mark.slow
def test_the_wheel_holds_the_prompts_and_the_nano_checkpoint(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    prompts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "agent/prompts").iterdir()}
    assert prompts
    assert prompts <= names
    nano = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {f"inference/nano/{name}" for name in nano} <= names
    assert wheel.getinfo("inference/nano/model.safetensors").file_size <= 20_000_000


@pytest.mark.slow
def test_the_wheel_installs_one_command_and_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts = wheel.read(name).decode().partition("[console_scripts]")[2].partition("[")[0]
    assert scripts.split() == ["qwen-agent", "=", "agent.cli:main"]
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    about = metadata(wheel)
    assert (about["Name"], about["License-Expression"]) == ("qwen-agent-local", "Apache-2.0")
    assert about["Requires-Python"] == ">=3.11"


@pytest.mark.slow
def test_the_installed_wheel_runs_away_from_the_tree(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    assert wheel.filename
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    command += ["--quiet", "--target", str(site), wheel.filename]
    subprocess.run(command, check=True, timeout=300)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import agent, evals; print(agent.__file__, evals.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert all(Path(path).is_relative_to(site) for path in where.stdout.split())
    shown = subprocess.run(
        [site / "bin" / "qwen-agent", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in ("fix", "demo", "eval"))
