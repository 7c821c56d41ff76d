"""What kind of project a folder holds, told from its files alone."""

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.errors import ProjectError
from tools.project import (
    Environment,
    check_environment,
    detect_environment,
    detect_test_command,
)

PYTHON = Path(sys.executable)
PLAIN = "def test_a():\n    assert True\n"
CASES = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"
PYTEST = "python -m pytest"


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"pytest.ini": ""}, PYTEST),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, PYTEST),
        ({"setup.cfg": "[tool:pytest]\n"}, PYTEST),
        ({"tox.ini": "[tox]\n[pytest]\n"}, PYTEST),
        ({"src/pkg/tests/conftest.py": ""}, PYTEST),
        ({"tests/test_a.py": PLAIN}, PYTEST),
        ({"a_test.py": "import pytest\n"}, PYTEST),
        ({"tests/test_a.py": CASES, "tests/test_b.py": PLAIN}, PYTEST),
        ({"tests/test_a.py": PLAIN, "package.json": '{"scripts": {"test": "jest"}}'}, PYTEST),
        ({"test_a.py": CASES}, "python -m unittest discover"),
        ({"pkg/__init__.py": "", "pkg/tests.py": CASES}, "python -m unittest discover"),
        ({"tests/test_a.py": CASES}, "python -m unittest discover -s tests"),
        ({"a_test.py": CASES}, "python -m unittest discover -p *_test.py"),
        (
            {"tests/test_a.py": CASES, "more/test_b.py": CASES},
            "sh -c python -m unittest discover -s more && python -m unittest discover -s tests",
        ),
        (
            {"pkg/__init__.py": "", "pkg/test_a.py": CASES, "more/test_b.py": CASES},
            "sh -c python -m unittest discover -s more && python -m unittest discover",
        ),
        (
            {"tests/in/__init__.py": "", "tests/in/test_a.py": CASES, "tests/x_test.py": CASES},
            "sh -c python -m unittest discover -s tests -p '*_test.py'"
            " && python -m unittest discover -s tests",
        ),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, "npm test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "pnpm-lock.yaml": ""}, "pnpm test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "yarn.lock": ""}, "yarn test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "bun.lock": ""}, "bun run test"),
        ({"Cargo.toml": "[package]\n", "Makefile": "test:\n"}, "cargo test"),
        ({"go.mod": "module m\n"}, "go test ./..."),
        ({"Makefile": "check:\n\techo\ntest: all\n"}, "make test"),
        ({"GNUmakefile": "check::\n"}, "make check"),
        ({"tox.ini": "[tox]\n"}, "tox"),
        ({"pyproject.toml": "[tool.tox]\n"}, "tox"),
        ({"noxfile.py": ""}, "nox"),
        ({"noxfile.py": "", "tests/test_a.py": CASES}, "python -m unittest discover -s tests"),
    ],
)
def test_the_command_follows_from_the_files(
    tmp_path: Path, files: dict[str, str], command: str
) -> None:
    assert " ".join(detect_test_command(write(tmp_path, files))) == command


@pytest.mark.parametrize(
    "files",
    [
        {"main.py": "print()\n"},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": "{broken"},
        {"package.json": '["list"]'},
        {"pyproject.toml": "broken ="},
        {"pyproject.toml": "tool = 3"},
        {"Makefile": "test := yes\nall:\n"},
        {"node_modules/x/test_a.py": PLAIN},
        {".venv/lib/test_a.py": PLAIN},
        {"env/pyvenv.cfg": "", "env/test_a.py": PLAIN},
    ],
)
def test_without_tests_the_user_is_told_what_to_do(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ProjectError, match="--test-cmd"):
        detect_test_command(write(tmp_path, files))


def test_odd_files_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    (tmp_path / "test_link.py").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    with (tmp_path / "setup.cfg").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ProjectError):
        detect_test_command(tmp_path)


# --- environments ----------------------------------------------------------------------------


def make_venv(folder: Path, base: Path, packages: tuple[str, ...] = ()) -> Path:
    """Make what detection looks at: links, the note of the base, folders of packages."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(base / "bin" / "python3")
    (folder / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\nversion = 3.11\n")
    for name in packages:
        (folder / "lib" / "python3.11" / "site-packages" / name).mkdir(parents=True)
    return python


def make_base(folder: Path) -> Path:
    write(folder, {"bin/python3": "\x7fELF", "lib/python3.11/os.py": ""})
    (folder / "bin" / "python3").chmod(0o755)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "pythons" / "3.11.7")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_the_environment_in_the_repository_comes_first(root: Path, home: Path, base: Path) -> None:
    python = make_venv(root / ".venv", base)
    other = make_venv(home / "other", base)
    found = detect_environment(
        root, None, {"HOME": str(home), "VIRTUAL_ENV": str(other.parent.parent)}
    )
    assert found.interpreter == python
    assert found.read_only == (root / ".venv", base)
    assert found.path[0] == root / ".venv" / "bin"
    assert found.variables["VIRTUAL_ENV"] == str(root / ".venv")
    assert found.variables["PYTHONDONTWRITEBYTECODE"] == "1"


def test_an_environment_behind_a_link_is_shown_by_both_its_names(
    root: Path, home: Path, base: Path
) -> None:
    real = make_venv(home / "venvs" / "shop", base).parent.parent
    (root / ".venv").symlink_to(real)
    found = detect_environment(root, None, {"HOME": str(home)})
    assert found.interpreter == root / ".venv" / "bin" / "python"
    assert found.read_only == (root / ".venv", real, base)


def test_a_named_interpreter_wins_and_must_exist(root: Path, home: Path, base: Path) -> None:
    make_venv(root / "venv", base)
    chosen = make_venv(home / "chosen", base)
    variables = {"HOME": str(home)}
    assert detect_environment(root, chosen, variables).interpreter == chosen
    assert detect_environment(root, chosen.parent.parent, variables).interpreter == chosen
    with pytest.raises(ProjectError, match="--python"):
        detect_environment(root, home / "absent", variables)


def test_the_active_environment_counts_unless_it_is_ours(
    root: Path, home: Path, base: Path
) -> None:
    mine = make_venv(home / "mine", base)
    variables = {"HOME": str(home), "PATH": ""}
    active = detect_environment(root, None, {**variables, "VIRTUAL_ENV": str(home / "mine")})
    assert active.interpreter == mine
    path = f"{PYTHON.parent}:/usr/bin"
    ours = detect_environment(
        root,
        None,
        {**variables, "VIRTUAL_ENV": sys.prefix, "CONDA_PREFIX": sys.prefix, "PATH": path},
    )
    assert ours.interpreter != PYTHON
    assert Path(sys.prefix) not in ours.read_only


def test_package_managers_keep_environments_in_known_places(
    root: Path, home: Path, base: Path
) -> None:
    variables = {"HOME": str(home), "PATH": ""}
    conda = home / "miniconda3" / "envs" / "shop"
    make_base(conda)
    (conda / "conda-meta").mkdir()
    write(root, {"environment.yml": "name: shop\n"})
    found = detect_environment(root, None, variables)
    assert found.interpreter == conda / "bin" / "python3"
    assert found.variables["CONDA_PREFIX"] == str(conda)

    pipenv = make_venv(home / ".local/share/virtualenvs/shop-abc", base)
    write(pipenv.parent.parent, {".project": str(root)})
    write(root, {"Pipfile": ""})
    assert detect_environment(root, None, variables).interpreter == pipenv

    digest = base64.urlsafe_b64encode(hashlib.sha256(str(root).encode()).digest()).decode()[:8]
    poetry = make_venv(home / f".cache/pypoetry/virtualenvs/shop-{digest}-py3.11", base)
    write(root, {"poetry.lock": ""})
    assert detect_environment(root, None, variables).interpreter == poetry

    uv = make_venv(root / "elsewhere", base)
    variables["UV_PROJECT_ENVIRONMENT"] = "elsewhere"
    assert detect_environment(root, None, variables).interpreter == uv


def test_the_system_python_is_a_program_outside_the_repository(
    root: Path, home: Path, base: Path
) -> None:
    make_base(root / "bin-of-repo")
    write(home, {"scripts/python3": "#!/bin/sh\n"})
    (home / "scripts" / "python3").chmod(0o755)
    folders = (root / "bin-of-repo" / "bin", home / "scripts", base / "bin")
    path = ":".join(str(folder) for folder in folders)
    found = detect_environment(root, None, {"HOME": str(home), "PATH": path})
    assert found.interpreter == base / "bin" / "python3"
    assert found.read_only == (base,)


def test_pyenv_is_asked_through_its_files(root: Path, home: Path) -> None:
    pyenv = home / ".pyenv"
    one, two = make_base(pyenv / "versions" / "3.11.7"), make_base(pyenv / "versions" / "3.12.1")
    write(pyenv, {"shims/python3": "#!/bin/sh\n", "version": "3.12.1\n"})
    variables = {"HOME": str(home), "PATH": str(pyenv / "shims")}
    assert detect_environment(root, None, variables).interpreter == two / "bin" / "python3"
    write(root, {".python-version": "3.11.7\n"})
    assert detect_environment(root, None, variables).interpreter == one / "bin" / "python3"


def test_a_repository_cannot_have_other_folders_shown(root: Path, home: Path, base: Path) -> None:
    write(home, {".ssh/id": "secret", ".ssh/bin/tool": ""})
    python = make_venv(root / ".venv", base)
    for place in (home / ".ssh" / "bin", home / "bin", Path("/bin"), Path("relative/bin")):
        (root / ".venv" / "pyvenv.cfg").write_text(f"home = {place}\n")
        found = detect_environment(root, None, {"HOME": str(home)})
        assert found.interpreter == python
        assert set(found.read_only) <= {root / ".venv", base}


def test_user_installed_packages_come_with_a_plain_python(
    root: Path, home: Path, base: Path
) -> None:
    packages = home / ".local" / "lib" / "python3.11" / "site-packages"
    (packages / "pytest").mkdir(parents=True)
    variables = {"HOME": str(home), "PATH": str(base / "bin")}
    found = detect_environment(root, None, variables)
    assert packages in found.read_only
    assert found.variables["PYTHONUSERBASE"] == str(home / ".local")
    check_environment(("python", "-m", "pytest"), found, variables)


def test_without_pytest_the_user_is_told_what_to_do(root: Path, home: Path, base: Path) -> None:
    variables = {"HOME": str(home), "PATH": ""}
    bare = detect_environment(root, make_venv(home / "bare", base), variables)
    full = detect_environment(root, make_venv(home / "full", base, ("pytest",)), variables)
    check_environment(("uv", "run", "pytest"), full, variables)
    check_environment(("python", "-m", "unittest"), bare, variables)
    check_environment(("cargo", "test"), Environment(None), variables)
    with pytest.raises(ProjectError, match="install pytest"):
        check_environment(("uv", "run", "pytest"), bare, variables)
    with pytest.raises(ProjectError, match="No python"):
        check_environment(("python", "-m", "unittest"), Environment(None), variables)


def test_toolchains_bring_programs_and_packages_but_no_tokens(root: Path, home: Path) -> None:
    write(
        home,
        {
            ".cargo/bin/cargo": "",
            ".cargo/registry/index": "",
            ".cargo/credentials.toml": "token",
            ".rustup/toolchains/stable/bin/rustc": "",
            ".rustup/settings.toml": "",
            "go/pkg/mod/x": "",
            "sdk/go1.22/bin/go": "",
            ".nvm/versions/node/v20/bin/node": "",
            ".local/bin/pnpm": "",
        },
    )
    for program in ("sdk/go1.22/bin/go", ".nvm/versions/node/v20/bin/node", ".local/bin/pnpm"):
        (home / program).chmod(0o755)
    write(root, {"Cargo.toml": "", "go.mod": "", "package.json": "{}"})
    folders = ("sdk/go1.22/bin", ".nvm/versions/node/v20/bin", ".local/bin")
    variables = {"HOME": str(home), "PATH": ":".join(str(home / folder) for folder in folders)}
    found = detect_environment(root, None, variables)
    shown = {str(path.relative_to(home)) for path in found.read_only if path.is_relative_to(home)}
    assert shown == {
        ".cargo/bin",
        ".cargo/registry",
        ".rustup/toolchains",
        ".rustup/settings.toml",
        "go/pkg/mod",
        "sdk/go1.22",
        ".nvm/versions/node/v20",
        ".local/bin",
    }
    assert home / ".cargo" / "bin" in found.path
    assert found.variables["CARGO_NET_OFFLINE"] == "true"
    assert found.variables["GOFLAGS"] == "-mod=mod"
    assert found.variables["GOROOT"] == str(home / "sdk" / "go1.22")
    assert found.variables["CI"] == "true"
    write(root, {"vendor/modules.txt": "", "pytest.ini": ""})
    again = detect_environment(root, None, variables)
    assert again.variables["GOFLAGS"] == "-mod=vendor"
    assert "CI" not in again.variables


@pytest.mark.parametrize(
    ("note", "chosen"),
    [
        ({}, "stable-x86_64-unknown-linux-gnu"),
        ({"rust-toolchain": "nightly\n"}, "nightly-2026-x86_64-unknown-linux-gnu"),
        ({"rust-toolchain.toml": '[toolchain]\nchannel = "1.75"\n'}, "1.75-x86_64-linux"),
        (
            {"rust-toolchain.toml": '[toolchain]\nchannel = "9.9"\n'},
            "stable-x86_64-unknown-linux-gnu",
        ),
        (
            {"rust-toolchain.toml": '[toolchain]\npath = "/etc"\n'},
            "stable-x86_64-unknown-linux-gnu",
        ),
    ],
)
def test_the_rust_that_rustup_would_choose_comes_before_rustup(
    root: Path, home: Path, note: dict[str, str], chosen: str
) -> None:
    toolchains = home / ".rustup" / "toolchains"
    for name in ("1.75-x86_64-linux", "nightly-2026-x86_64-unknown-linux-gnu"):
        write(toolchains, {f"{name}/bin/cargo": ""})
    settings = 'default_toolchain = "stable-x86_64-unknown-linux-gnu"\n[overrides]\n'
    write(
        toolchains, {"stable-x86_64-unknown-linux-gnu/bin/cargo": "", "../settings.toml": settings}
    )
    write(home, {".cargo/bin/cargo": ""})
    write(root, {"Cargo.toml": "", **note})
    found = detect_environment(root, None, {"HOME": str(home), "PATH": ""})
    folders = [folder for folder in found.path if folder.is_relative_to(home)]
    assert folders == [toolchains / chosen / "bin", home / ".cargo" / "bin"]
    variables = {"HOME": str(home), "PATH": "", "RUSTUP_TOOLCHAIN": "nightly"}
    assert "nightly" in str(detect_environment(root, None, variables).path)


def test_go_without_a_compiler_is_left_to_the_system(root: Path, home: Path) -> None:
    write(root, {"go.mod": ""})
    found = detect_environment(root, PYTHON, {"HOME": str(home), "PATH": ""})
    assert "GOROOT" not in found.variables
    assert found.variables["GOPROXY"] == "off"
