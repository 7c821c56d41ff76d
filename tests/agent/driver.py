"""`qwen-agent fix` in a process of its own with a scripted model; to be signalled and killed.

python -m tests.agent.driver SCRIPT.json ARGUMENT...   with SCRIPT a list of [tool, arguments].
"""

import json
import sys
from pathlib import Path

from agent.arguments import parse
from agent.frontends.fix import run
from tests.agent.fakes import Say, ScriptedModel, call


def main() -> int:
    """Run the front end as the command would."""
    file, *words = sys.argv[1:]
    steps = json.loads(Path(file).read_text())
    script = [
        Say(hangs=True) if name == "hang" else Say((call(name, **values),))
        for name, values in steps
    ]
    return run(parse(["fix", *words]), lambda _request: ScriptedModel([script]))


if __name__ == "__main__":
    sys.exit(main())
