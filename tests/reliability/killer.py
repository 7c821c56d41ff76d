"""Kills `fix` with SIGKILL at random moments and lets `--resume` go on; prints what it saw.

python -m tests.reliability.killer FOLDER NUM_KILLS SEED

The program is the real one: arguments, front end, journal, copies, editor, shell, verdict. Only
the model reads from a script. All is imported once and each run is a fork, so that a run takes a
fraction of a second. The last line printed is JSON; a broken promise ends with an exception.
"""

import json
import os
import random
import select
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.arguments import parse
from agent.frontends.fix import run
from agent.journal import read
from agent.session import JOURNAL
from agent.wording import prompt
from tests.agent.fakes import FINISH, Say, ScriptedModel, bash, call, edit, make_repository, picture

CHECK = "grep -q 'price + tax' shop/cart.py && grep -q 'of a shop' shop/__init__.py\n"
REPAIRED = {"shop/cart.py": b"price + tax", "shop/__init__.py": b"of a shop"}
RESUME_S = 300.0
"""Passed only by what hangs."""


@dataclass
class Stage:
    """The folders of one killed session."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def counters(self) -> list[Path]:
        return [self.folder / f"counter{number}" for number in range(2)]

    def script(self) -> list[Say]:
        first, second = (f"echo ran >> {path}; sleep 0.05" for path in self.counters)
        return [
            bash(first),
            edit("shop/cart.py", "price - tax", "price + tax"),
            Say((call("bash", command=second), call("outline", path="shop/cart.py"))),
            edit("shop/__init__.py", "a shop", "of a shop"),
            FINISH,
        ]

    def start(self, *words: str) -> tuple[int, int]:
        """Run the front end in a fork; return its process and what it prints."""
        reading, writing = os.pipe()
        if pid := os.fork():
            os.close(writing)
            return pid, reading
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        os.environ["XDG_CONFIG_HOME"] = str(self.folder.parent / "config")
        os.dup2(writing, 1)
        os.dup2(os.open(self.folder / "errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        code = 99
        try:
            arguments = parse(["fix", str(self.repository), *words])
            code = run(arguments, lambda _: ScriptedModel([self.script()]))
            sys.stdout.flush()
        finally:
            os._exit(code)

    def begin(self) -> tuple[int, int]:
        return self.start("--sandbox", "direct", "--test-cmd", "sh check.sh", "--stream-json")

    def records(self) -> tuple[dict[str, Any], ...]:
        """What the journal holds; nothing if there is none yet."""
        found = list((self.folder / "state/qwen-agent/sessions").glob(f"*/{JOURNAL}"))
        return read(found[0]) if found else ()


def until(reading: int, deadline: float) -> bytes:
    """Read to the end, or to a moment."""
    said = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            data = os.read(reading, 65536)
            if not data:
                break
            said += data
    return said


def messages_of(records: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [record["message"] for record in records if record["type"] == "message"]


def kill_once(stage: Stage, moment_s: float, seen: Counter[str]) -> float | None:
    """Start, kill, look, resume, look again; return how long it took if the kill came too late."""
    before = picture(stage.repository)
    pid, reading = stage.begin()
    start = time.monotonic()
    said = until(reading, start + moment_s)
    took_s = time.monotonic() - start
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said += until(reading, time.monotonic() + RESUME_S)  # what it had printed, to the last byte
    os.close(reading)
    events = [json.loads(line) for line in said.split(b"\n")[:-1]]
    seen[events[-1]["type"] if events else "nothing"] += 1

    # 1. What was acknowledged is in the journal, and the user's files are whole.
    records = stage.records()
    said_by = [(message["role"], message.get("content", "")) for message in messages_of(records)]
    results = [content for role, content in said_by if role == "tool"]
    told = [event["text"] for event in events if event["type"] == "CallEnded"]
    assert results[: len(told)] == told, (told, results)
    num_replies = sum(role == "assistant" for role, _ in said_by)
    assert num_replies >= sum(event["type"] == "ReplyEnded" for event in events)
    for name, content in picture(stage.repository).items():
        if not name.startswith((".git/", ".qwen-agent-")):
            assert content == before[name] or (name in REPAIRED and REPAIRED[name] in content)

    # 2. It goes on to the end, with the conversation as it was.
    if any(record["type"] == "end" for record in records):
        check_repaired(stage)
        seen["killed after the last record"] += took_s >= moment_s
        return took_s if took_s < moment_s else None
    if not records:  # killed before the first line: there is nothing to go on with
        resumed, code = {}, finish(stage.begin())[1]
    else:
        resumed, code = finish(stage.start("--resume", "--json"))
    assert code == 0, (code, resumed, (stage.folder / "errors").read_text())
    after = stage.records()
    assert list(after[: len(records)]) == list(records), "nothing was lost or written over"
    check_repaired(stage)
    assert not list(stage.repository.glob(".qwen-agent-*"))

    # 3. No command ran twice.
    interrupted = sum(m.get("content") == prompt("interrupted") for m in messages_of(after))
    runs = [len(path.read_text().split()) if path.exists() else 0 for path in stage.counters]
    assert max(runs) == 1, runs
    assert sum(runs) + interrupted >= 2, (runs, interrupted)
    seen["interrupted calls"] += interrupted
    return None


def check_repaired(stage: Stage) -> None:
    for name, text in REPAIRED.items():
        assert text in (stage.repository / name).read_bytes()


def finish(started: tuple[int, int]) -> tuple[dict[str, Any], int]:
    """Wait for the end; return the report and the exit code."""
    pid, reading = started
    said = until(reading, time.monotonic() + RESUME_S)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    lines = said.decode().strip()
    report = json.loads(lines if lines.startswith("{\n") else lines.rpartition("\n")[2] or "{}")
    return report, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Kill so often."""
    folder, num_kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True)
    model = make_repository(
        folder / "model", {"check.sh": CHECK, "shop/__init__.py": '"""a shop"""\n'}
    )
    settings = folder / "config/qwen-agent/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[verify]\ntests = false\n")  # those at the end are enough here
    moments = random.Random(seed)
    seen: Counter[str] = Counter()
    length_s, num_killed, number = 10.0, 0, 0
    while num_killed < num_kills:
        stage = Stage(folder / str(number))
        shutil.copytree(model, stage.repository)
        took_s = kill_once(stage, moments.uniform(0, length_s), seen)
        shutil.rmtree(stage.folder)
        # The length of a run is learnt from those that ended first, and follows a busy machine.
        num_killed += took_s is None
        length_s = 1.03 * length_s if took_s is None else took_s
        number += 1
    print(json.dumps({"too late": number - num_killed, **seen}))


if __name__ == "__main__":
    main()
