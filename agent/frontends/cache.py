"""`qwen-agent cache`: what is kept on disk of earlier conversations; list, show, prune, verify.

It reads arguments and prints. What is there tells `agent/stored.py`, what may go `inference/`.
"""

import json
import re
import time
from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from agent.config import config_file, load_config, snapshots_folder
from agent.errors import AgentError, UsageError
from agent.frontends.console import visible
from agent.frontends.output import complain
from agent.stored import (
    DAY_S,
    StoredModel,
    StoredNode,
    closed_to_us,
    is_empty,
    line_of,
    prune_older,
    prune_to,
    read_stored,
    strangers,
    verify_stored,
)

UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
MAX_SIZE_BYTES = 1 << 60
"""More is not meant: no disk holds it."""
NUM_KEY_DIGITS = 8
FAILED = 1
"""The exit code when something was damaged, could not be read or could not be removed."""


def run(arguments: Namespace) -> int:
    """Carry out `qwen-agent cache`."""
    folder = snapshots_folder()
    try:
        budget_bytes = load_config(config_file()).cache.disk_bytes
        closed = closed_to_us(folder)
        for sentence in closed:
            _tell(sentence)
        match arguments.action:
            case "show":
                code = _show(folder, arguments.key)
            case "prune":
                code = _prune(folder, budget_bytes, arguments)
            case "verify":
                code = _verify(folder)
            case _:
                code = _list(folder, budget_bytes, is_json=getattr(arguments, "json", False))
    except AgentError as error:
        _tell(str(error))
        return error.exit_code
    return FAILED if closed else code


def size_of(text: str) -> int:
    """Read a size: bytes, or with K, M, G or T, 1024 of each to the next; `2.5 GiB` is one.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text} is no size; write 500M, 20G or 2.5GiB")
    size = float(found[1]) * 1024 ** UNITS[found[2].upper()]
    if size > MAX_SIZE_BYTES:
        raise UsageError("a size can be 1048576T at most; write 500M, 20G or 2.5GiB")
    return int(size)


def bytes_in_words(num_bytes: int) -> str:
    """Write a number of bytes for a person."""
    for unit, power in (("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if num_bytes >= 1024**power:
            return f"{num_bytes / 1024**power:,.1f} {unit}"
    return f"{num_bytes} bytes"


def age_in_words(seconds: float) -> str:
    """Write how long ago something was, in one unit."""
    for unit, length in (("days", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now" if seconds < 60 else "a minute ago"


def _list(folder: Path, budget_bytes: int, is_json: bool) -> int:
    models = read_stored(folder)
    num_bytes = sum(model.nbytes for model in models)
    if is_json:
        total = {"folder": str(folder), "budget_bytes": budget_bytes, "nbytes": num_bytes}
        print(json.dumps({**total, "models": [asdict(model) for model in models]}, indent=2))
        return 0
    if not models:
        return _nothing(folder)
    for model in models:
        _print_model(model)
    budget = f" of {bytes_in_words(budget_bytes)}" if budget_bytes else "; nothing new is kept"
    print(f"{bytes_in_words(num_bytes)}{budget}, in {_plain(folder)}")
    return 0


def _print_model(model: StoredModel) -> None:
    print(f"model {model.name}  {_description(model)}")
    for node in model.nodes:
        print(f"  {'  ' * node.depth}{_row(node)}")
    if model.stranded:
        num_bytes = bytes_in_words(sum(node.nbytes for node in model.stranded))
        print(f"  {len(model.stranded)} that can no longer be reached, {num_bytes}: they go first")
    if model.unreadable:
        print(f"  {len(model.unreadable)} that cannot be read: see `qwen-agent cache verify`")


def _description(model: StoredModel) -> str:
    words = (model.identity["quantization"], model.identity["kv_dtype"], model.identity["shape"])
    known = visible(", ".join(word for word in words if word))
    return f"{known}; {bytes_in_words(model.nbytes)}" if known else bytes_in_words(model.nbytes)


def _row(node: StoredNode) -> str:
    age = age_in_words(time.time() - node.last_used)
    words = "" if node.resumable else "  not by itself"
    return (
        f"{node.key[:NUM_KEY_DIGITS]}  {node.num_tokens:>9,} tokens  "
        f"{bytes_in_words(node.nbytes):>10}  {age}{words}"
    )


def _show(folder: Path, key: str) -> int:
    model, node = _named(read_stored(folder), key)
    state = f", of them {bytes_in_words(node.state_nbytes)} state" if node.resumable else ""
    line = line_of(model, node)
    is_whole = line[0].num_before == 0
    resumable = "yes"
    if not is_whole:
        resumable = "no: what it builds on is gone"
    elif not node.resumable:
        resumable = "no: it holds keys and values for the nodes after it, and no state"
    print(f"key        {node.key}")
    print(f"model      {model.name}  {_description(model)}")
    print(f"tokens     {node.num_tokens:,}, the last {node.num_tokens - node.num_before:,} in it")
    print(f"bytes      {bytes_in_words(node.nbytes)}{state}")
    print(f"last used  {age_in_words(time.time() - node.last_used)}")
    print(f"resumable  {resumable}")
    print(f"line       {bytes_in_words(sum(one.nbytes for one in line))} in all")
    for one in line:
        print(f"  {_row(one)}")
    return 0


def _named(models: tuple[StoredModel, ...], key: str) -> tuple[StoredModel, StoredNode]:
    """Return the one node whose key begins like this; `MODEL/KEY` where models share a key.

    Raises:
        UsageError: none does, or several do.
    """
    wanted, _, start = key.lower().rpartition("/")
    found = [
        (model, node)
        for model in models
        if model.digest.startswith(wanted)
        for node in (*model.nodes, *model.stranded)
        if node.key.startswith(start)
    ]
    if not found:
        raise UsageError(f"there is no stored state {key}; see `qwen-agent cache list`")
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} stored states begin with {key}; give more of it, or MODEL/KEY"
        )
    return found[0]


def _prune(folder: Path, budget_bytes: int, arguments: Namespace) -> int:
    days: float | None = arguments.older_than
    if days is not None and not days >= 0:
        raise UsageError(f"--older-than must be 0 or more days, not {days:g}")
    if arguments.budget is not None:
        budget_bytes = size_of(arguments.budget)
    if is_empty(folder):
        return _nothing(folder)
    told: list[str] = []
    if arguments.all:
        freed = prune_to(folder, 0, told.append)
    elif days is not None:
        freed = prune_older(folder, days * DAY_S, time.time(), told.append)
    else:
        freed = prune_to(folder, budget_bytes, told.append)
    for sentence in told:
        _tell(sentence)
    left = sum(model.nbytes for model in read_stored(folder))
    print(f"{bytes_in_words(freed)} freed, {bytes_in_words(left)} left in {_plain(folder)}")
    return FAILED if told else 0


def _verify(folder: Path) -> int:
    num = Counter[str]()
    for checked in verify_stored(folder):
        num[checked.verdict] += 1
        if checked.problem:
            what = "removed" if checked.removed else "left as it is"
            print(f"{checked.model}/{checked.key}: {visible(checked.problem)}; {what}")
    others = strangers(folder)
    for name in others:
        print(f"{_plain(name)}: not the store's; left as it is")
    if not num and not others:
        return _nothing(folder)
    words = [f"{num['whole']} whole, {num['damaged']} damaged"]
    words += [f"{num['unreadable']} that cannot be read"] * bool(num["unreadable"])
    words += [f"{num['newer']} of a newer version"] * bool(num["newer"])
    words += [f"{len(others)} not the store's"] * bool(others)
    print(", ".join(words))
    return FAILED if num["damaged"] or num["unreadable"] else 0


def _nothing(folder: Path) -> int:
    if closed_to_us(folder):
        print(f"Nothing else is kept in {_plain(folder)}.")
    else:
        print(f"Nothing is kept yet: {_plain(folder)} has no states of conversations.")
    return 0


def _plain(text: str | Path) -> str:
    """Write a name so that a terminal shows every character of it and obeys none."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def _tell(sentence: str) -> None:
    complain(_plain(sentence))
