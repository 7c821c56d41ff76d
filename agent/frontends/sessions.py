"""`qwen-agent sessions`: list, show, export, prune; `resume` leads to the front end of its kind."""

import json
import re
import sys
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from agent.config import state_folder
from agent.errors import AgentError, UsageError
from agent.frontends.agreed import agreed
from agent.frontends.cache import age_in_words, bytes_in_words
from agent.frontends.console import visible
from agent.frontends.transcript import as_document, as_html, as_markdown, as_text
from agent.journal import Contents, read_all
from agent.patch import write_whole
from agent.prune import kept_sessions, may_go, prune
from agent.session import JOURNAL
from agent.sessions import find_session, list_sessions

UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0, "": 86400.0}
MAX_AGE_S = 1e10
"""Three hundred years; more is not meant."""


def run(arguments: Namespace) -> int:
    """Carry out the command that was typed; return its exit code.

    Raises:
        AgentError: it cannot be done.
    """
    state = state_folder()
    match arguments.action:
        case "show":
            return _show(state, arguments)
        case "export":
            return _export(state, arguments)
        case "prune":
            return _prune(state, arguments)
        case _:
            return _list(state, is_json=getattr(arguments, "json", False))


def words_to_resume(name: str) -> list[str]:
    """Return the command line that goes on with a session; without a name, with a run of `fix`."""
    if not name:
        return ["fix", "--resume"]
    kinds = {info.id: info.kind for info in list_sessions(state_folder())}
    with suppress(AgentError):  # whoever resumes it says what is wrong with the name
        name = find_session(state_folder(), name, None).name
    return [kinds.get(name, "fix"), "--resume", name]


def age_of(text: str) -> float:
    """Read an age as seconds: `30d`, `12h`, `90m`; a number alone is days.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd]?)", text.strip())
    if found is None or float(found[1]) * UNITS_S[found[2]] > MAX_AGE_S:
        raise UsageError(f"{text} is no age; write 30d, 12h or 90m")
    return float(found[1]) * UNITS_S[found[2]]


def _list(state: Path, is_json: bool) -> int:
    found = list(list_sessions(state))
    if is_json:
        lines = [{**asdict(info), "folder": str(info.folder)} for info in found]
        print(json.dumps({"folder": str(state / "sessions"), "sessions": lines}, indent=2))
        return 0
    for info in found:
        code = "-" if info.exit_code is None else str(info.exit_code)
        told = f" (lines that cannot be read: {info.num_damaged})" if info.num_damaged else ""
        sentence = f"{visible(info.sentence)}{told}"
        print(f"{info.id}  {code:>3}  {visible(info.repository)}  {sentence}")
    return 0


def _chosen(state: Path, name: str | None) -> tuple[str, Contents]:
    """Return the id and the journal of a session that was named, or of the last one."""
    name = name or next((info.id for info in list_sessions(state)), "none")
    folder = find_session(state, name, None)
    return folder.name, read_all(folder / JOURNAL)


def _show(state: Path, arguments: Namespace) -> int:
    name, contents = _chosen(state, arguments.id)
    if arguments.json:
        print(json.dumps(as_document(name, contents), indent=2))
        return 0
    for line in as_text(contents):
        print(line)
    return 0


def _export(state: Path, arguments: Namespace) -> int:
    name, contents = _chosen(state, arguments.id)
    match arguments.form:
        case "json":
            page = json.dumps(as_document(name, contents), indent=2) + "\n"
        case "html":
            page = as_html(name, contents)
        case _:
            page = as_markdown(name, contents)
    if arguments.output in (None, "-"):
        sys.stdout.write(page)
    else:
        # Private like the session itself: it holds what the model has read.
        write_whole(Path(arguments.output), page.encode(), mode=0o600)
    return 0


def _prune(state: Path, arguments: Namespace) -> int:
    if arguments.older_than is None and arguments.keep is None:
        raise UsageError("say what may go: --older-than 30d, --keep 20, or both")
    if (arguments.keep or 0) < 0:
        raise UsageError(f"--keep must be 0 or more, not {arguments.keep}")
    age_s = 0.0 if arguments.older_than is None else age_of(arguments.older_than)
    chosen = may_go(kept_sessions(state), arguments.keep or 0, age_s)
    if not chosen:
        print("No session has to go.")
        return 0
    for kept in chosen:
        size, age = bytes_in_words(kept.num_bytes), age_in_words(kept.age_s)
        print(f"{visible(kept.folder.name)}  {size:>10}  {age}")
    size = bytes_in_words(sum(kept.num_bytes for kept in chosen))
    if not arguments.yes and not agreed(f"Remove what is listed for good, {size}?"):
        print("Nothing was removed.")
        return 0
    gone = [kept for kept in chosen if prune(kept)]
    freed = bytes_in_words(sum(kept.num_bytes for kept in gone))
    print(f"Sessions removed: {len(gone)} of {len(chosen)}; {freed} freed.")
    return 0
