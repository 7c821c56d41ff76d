"""`qwen-agent fix` in a process of its own with a scripted model; to be signalled and killed.

python -m tests.agent.driver SCRIPT.json ARGUMENT...   with SCRIPT a list of [tool, arguments].

STOPS_AT, a variable, is the type of an event; when a stream has told it the process stands still.
"""

import json
import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from agent.arguments import parse
from agent.frontends.fix import run
from agent.frontends.output import hand_out
from tests.agent.fakes import Say, ScriptedModel, call


def main() -> int:
    """Run the front end as the command would."""
    file, *words = sys.argv[1:]
    steps = json.loads(Path(file).read_text())
    script = [
        Say(hangs=True) if name == "hang" else Say((call(name, **values),))
        for name, values in steps
    ]
    with patch("agent.frontends.fix.hand_out", hand_out_and_stop):
        return run(parse(["fix", *words]), lambda _request: ScriptedModel([script]))


def hand_out_and_stop(content: bytes) -> None:
    """Hand out a part of the result; stand still if that is what was waited for."""
    hand_out(content)
    if "STOPS_AT" in os.environ and json.loads(content)["type"] == os.environ["STOPS_AT"]:
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    sys.exit(main())
