"""What projects' tests do every day works inside, at the highest level that this machine has."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from sandbox.base import CommandResult, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
from tests.plain import plain_python

TESTS = """
import asyncio, ctypes, multiprocessing, os, shutil, socket, sqlite3, subprocess, threading

def double(x):
    return 2 * x

def test_files(tmp_path):
    (tmp_path / "a").write_text("x")
    shutil.copy2(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").chmod(0o700)
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "fifo")
    assert (tmp_path / "link").read_text() == "x"

def test_a_server_on_the_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
        thread.start()
        with socket.create_connection(("localhost", server.getsockname()[1])) as client:
            assert client.recv(5) == b"hello"
        thread.join()

def test_a_unix_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))

def test_processes():
    with multiprocessing.Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(double, [3]) == [6]

def test_sqlite(tmp_path):
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t (x)")

def test_asyncio():
    async def main():
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
        return (await process.communicate())[0]
    assert asyncio.run(main()) == b"hi\\n"

def test_git(tmp_path):
    def git(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    git("init", "-q")
    (tmp_path / "a").write_text("x")
    git("add", "a")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "first")
    assert b"first" in git("log").stdout
"""


def inside(view: View, *argv: str, **limits: float) -> CommandResult:
    return Bubblewrap().run(argv, view, Limits(**{"wall_s": 300, **limits}))  # type: ignore[arg-type]


def test_a_python_project(view: View) -> None:
    python = plain_python()
    folders = tuple({Path(sys.prefix), Path(sys.base_prefix), Path(pytest.__file__).parents[1]})
    seen = View(
        view.source,
        view.workspace,
        read_only=(*folders, Path(python).parents[1]),
        environment={"PYTHONPATH": str(Path(pytest.__file__).parents[1])},
    )
    (view.source / "test_it.py").write_text(TESTS)
    result = inside(seen, str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "7 passed" in result.output


def test_the_repositorys_own_git_answers(view: View) -> None:
    shutil.rmtree(view.source / ".git")
    script = "git init -q . && git add . && git -c user.name=x -c user.email=x@x commit -qm first"
    assert os.system(f"cd {view.source} && {script}") == 0
    output = inside(view, "sh", "-c", "git log --oneline; echo y >> hello.txt; git diff").output
    assert "first" in output
    assert "+y" in output


@pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler here")
def test_a_c_compiler_and_threads(view: View) -> None:
    (view.source / "x.c").write_text("""
#include <pthread.h>
#include <stdio.h>
static void *work(void *x) { return x; }
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0) || pthread_join(thread, 0)) return 1;
    puts("joined");
}
""")
    result = inside(view, "sh", "-c", "gcc -pthread -o x x.c && ./x")
    assert (result.exit_code, result.output) == (0, "joined\n")


@pytest.mark.skipif(not shutil.which("npm"), reason="no npm here")
@pytest.mark.slow
def test_npm_test(view: View) -> None:
    test = "require('node:assert').equal(1 + 1, 2); console.log('equal')"
    (view.source / "it.js").write_text(test)
    (view.source / "package.json").write_text('{"name": "x", "scripts": {"test": "node it.js"}}')
    result = inside(view, "npm", "test", memory_bytes=64 * 2**30)
    assert result.exit_code == 0
    assert "equal" in result.output
