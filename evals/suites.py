"""interim"""

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path

from evals.nano.corpus import generate
from evals.nano.evaluate import lay_out
from evals.nano.plain_python import make_plain_python
from evals.task import Grade, Place, Task


@cache
def plain():
    folder = tempfile.TemporaryDirectory(prefix="plain-python-")
    atexit.register(folder.cleanup)
    return make_plain_python(Path(folder.name))


class Nano:
    suite = "nano"
    contamination = "generated"

    def __init__(self, first, last, bugs=1):
        self.first, self.last, self.bugs = first, last, bugs
        self.spec = json.dumps({"suite": "nano", "first": first, "last": last, "bugs": bugs})

    def tasks(self):
        return [
            Task(
                str(s), facts={"bug": "+".join(d.bug_kind for d in generate(s, self.bugs).defects)}
            )
            for s in range(self.first, self.last)
        ]

    def lay_out(self, task, folder):
        folder.mkdir(exist_ok=True)
        lay_out(generate(int(task.id), self.bugs), folder)
        return Place(folder, (), plain())

    def grade(self, task, place):
        import subprocess

        for name, text in generate(int(task.id), self.bugs).files.items():
            if "test" in name:
                (place.folder / name).write_text(text)
        r = subprocess.run(
            [str(plain()), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=place.folder,
            capture_output=True,
        )
        return Grade(r.returncode == 0, "tests", 0)


def open_source(spec):
    s = json.loads(spec)
    return Nano(s["first"], s["last"], s["bugs"])


def open_script(name):
    raise NotImplementedError
