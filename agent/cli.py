"""`qwen-agent`: the first line of ours that runs, and the last; the words to a front end.

Nothing that takes time is imported at the top: Ctrl-C is held back before the rest is loaded.
"""

import os
import signal
import sys
from collections.abc import Sequence

if sys.platform == "win32":
    sys.exit("qwen-agent: Windows is served through WSL2: `wsl --install`, then install it there.")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
LEFT_EARLY = tuple(128 + number for number in SIGNALS)
"""What a shell shows for a program that a signal has ended."""
READER_GONE = 128 + signal.SIGPIPE
"""What a shell shows for a program whose reader left, as in `qwen-agent sessions | head -1`."""
FRONT_ENDS = {
    "acp": "agent.frontends.acp.start",
    "cache": "agent.frontends.cache",
    "doctor": "agent.frontends.doctor",
    "models": "agent.frontends.models",
    "plan": "agent.frontends.plan",
    "serve": "agent.frontends.serve.start",
    "sessions": "agent.frontends.sessions",
    "talk": "agent.frontends.talk",
}
"""What has the `run` of a command; it is imported only when that is the one that was typed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Be the whole life of the process; return its exit code."""
    # Held back and not lost: whoever can end cleanly lets them through.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _hold_standard_streams()
    if not os.environ.get("HOME", "").startswith("/"):
        os.environ.pop("HOME", None)  # then everybody asks the user database, and not the root
    code = _code_of(sys.argv[1:] if argv is None else list(argv))
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # what the code is has been settled
    if code in LEFT_EARLY:
        # A thread may still be loading a model; Python would wait for it, or crash beside it.
        os._exit(code)
    return code


def answer(words: list[str]) -> int:
    """Carry out a command line; return its exit code."""
    from importlib import import_module

    from agent.arguments import parse
    from agent.errors import AgentError, UsageError
    from agent.frontends.output import complain
    from inference.errors import InferenceError
    from sandbox.errors import SandboxError
    from tools.errors import ProjectError

    try:
        arguments = parse(words)
    except SystemExit as left:  # --help and --version
        return left.code if isinstance(left.code, int) else 0
    except UsageError as error:
        if "fix" not in words:
            complain(str(error))
            return error.exit_code
        from agent.frontends.fix import refuse

        return refuse(error, words)
    if arguments.command == "sessions" and arguments.action == "resume":
        from agent.frontends.sessions import words_to_resume

        arguments = parse(words_to_resume(arguments.id or ""))
    if arguments.command == "fix":
        from agent.frontends.fix import run

        return run(arguments)  # it lets the signals through itself, where they cancel the run
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        module = FRONT_ENDS.get(arguments.command)  # or it is the command of another room
        run = import_module(module).run if module else arguments.run
        code: int = run(arguments)
    except (AgentError, InferenceError, SandboxError, ProjectError) as error:
        complain(str(error))
        return error.exit_code
    return code


def _code_of(words: list[str]) -> int:
    """Answer, and make an exit code of whatever ends the answer early."""
    try:
        code = answer(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        from agent.frontends.output import complain, drop

        drop(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return READER_GONE
        named = f"{error.filename or 'standard output'}: {error.strerror}"
        complain(named if error.strerror else " ".join(str(error).split()))
        code = 1
    return code


def _hold_standard_streams() -> None:
    """Fill closed ones with /dev/null: else the next file of ours would be taken for one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


if __name__ == "__main__":
    sys.exit(main())
