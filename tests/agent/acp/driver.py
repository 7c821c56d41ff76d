"""`qwen-agent acp` in a process of its own with a scripted model.

python -m tests.agent.acp.driver SCRIPT.json ARGUMENT...   with SCRIPT a list of replies.
"""

import json
import sys
from pathlib import Path
from typing import Any

from agent.arguments import parse
from agent.frontends.acp.start import run
from inference.errors import InferenceError
from tests.agent.fakes import Say, ScriptedModel, call


def say_of(record: dict[str, Any]) -> Say:
    """Read one reply."""
    calls = tuple(call(name, **values) for name, values in record.pop("calls", ()))
    error = record.pop("error", None)
    return Say(calls, **record, error=None if error is None else InferenceError(error))


def main() -> int:
    """Be the command."""
    file, *words = sys.argv[1:]
    script = [say_of(record) for record in json.loads(Path(file).read_text())]
    model = ScriptedModel([script], on_reply=lambda number: print("noise", number, flush=True))
    return run(parse(["acp", *words]), lambda _request: model)


if __name__ == "__main__":
    sys.exit(main())
