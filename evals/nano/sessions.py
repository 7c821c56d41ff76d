"""Ideal repair sessions: what nano is trained to do, in the agent's own words.

    python -m evals.nano.sessions --out DIR --seeds A:B [--test-seeds A:B] [--vocabulary N]

    python -m evals.nano.sessions --out DIR --seeds A:B --exercises
    python -m evals.nano.sessions --out DIR --seeds A:B --rewrites

Each seed's repository is written to disk, its tests are run, every call goes through the real
tools and its result is what they really said. The conversation is rendered by the transcript that
`fix` uses, so nano meets in use exactly what it met in training. Exercises are the middle of such
a session, from the search to the edit: no test is run for them, so there can be many of them, and
nearly all that a session has to teach is in that part. Rewrites are the edit alone, the broken
function and then the right one: what is wrong in it and what belongs there, at a third of an
exercise's tokens. Seeds from 900,000 on are held out: they are for evaluation, and this file
refuses to train on them.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as FastTokenizer

from agent.wording import prompt
from evals.nano.corpus import HELD_OUT, Repository, generate, write
from evals.nano.shards import write_shard
from evals.nano.warm import WarmPytest
from inference.messages import Message, ToolCall
from inference.profiles import NANO, TAGS
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from sandbox.base import Sandbox, View
from sandbox.limits import Limits
from sandbox.workspace import Workspace
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO
from tools.finish import Finish
from tools.project import detect_environment, detect_test_command
from tools.registry import Registry
from tools.run_tests import RunTests, describe
from tools.runners import run_tests_once
from tools.search import Search, find_ripgrep
from tools.test_report import TestReport

PROOF_EVERY = 16
"""The second run of the tests, after the repair, is really made for every sixteenth seed. For the
others its words are known from the first: every test passes."""
SHARD_SEEDS = 200
NEW_TEXT = "<parameter=new_str>\n"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How the family cuts text before byte-pair merging."""


Sample = tuple[list[int], list[bool]]
"""Token ids, and which of them the model is to produce."""


@dataclass(frozen=True)
class Desk:
    """One repository on disk and the tools on it."""

    folder: Path
    registry: Registry
    report: TestReport
    """What the first run of the tests showed."""


def open_desk(repository: Repository, folder: Path, sandbox: Sandbox) -> Desk:
    """Write the repository, run its tests, lay out the tools."""
    write(repository, folder)
    view = View(source=folder, workspace=folder)
    command = detect_test_command(folder)
    environment = detect_environment(folder, Path(sys.executable))
    workspace = Workspace(folder, folder)
    limits = Limits(wall_s=60)
    report = run_tests_once(command, environment, view, sandbox, limits)
    registry = Registry(
        [
            StrReplaceEditor(workspace, FOR_NANO),
            Search(workspace, sandbox, view, find_ripgrep(view)),
            RunTests(command, environment, view, sandbox, limits),
            Finish(),
        ]
    )
    return Desk(folder, registry, report)


def ideal_calls(repository: Repository) -> Iterator[ToolCall]:
    """Look the tested function up, read it (and the helper it calls), repair, test, finish."""
    (defect,) = repository.defects
    editor, repair = "str_replace_editor", defect.repair
    for pattern, path in defect.lookups:
        yield ToolCall("search", {"pattern": pattern})
        yield ToolCall(editor, {"command": "view", "path": path})
    yield ToolCall(
        editor,
        {
            "command": "str_replace",
            "path": repair.path,
            "old_str": repair.old_str,
            "new_str": repair.new_str,
        },
    )
    yield ToolCall("run_tests", {})
    yield ToolCall("finish", {"summary": f"Repaired {repair.path}."})


def ideal_session(repository: Repository, folder: Path, sandbox: Sandbox) -> list[Message]:
    """Carry the ideal calls out and return the conversation.

    Raises:
        ValueError: the repository is not repaired by its repair; a fault of the corpus.
    """
    desk = open_desk(repository, folder, sandbox)
    messages = [
        Message("system", prompt("nano_system")),
        Message("user", prompt("fix", report=describe(desk.report))),
    ]
    all_green = f"{len(desk.report.cases)} passed."
    for call in ideal_calls(repository):
        text = all_green
        if call.name != "run_tests" or repository.seed % PROOF_EVERY == 0:
            result = desk.registry.call(call.name, call.arguments)
            text = result.text
            if not result.ok or (call.name == "run_tests" and text != all_green):
                raise ValueError(f"seed {repository.seed}, {call}: {text}")
        messages.append(Message("assistant", "", tool_calls=(call,)))
        messages.append(Message("tool", text))
    return messages[:-1]  # nothing is asked after `finish`


def exercise(repository: Repository, folder: Path, sandbox: Sandbox) -> list[Message]:
    """Carry out the calls up to the edit, which ends the conversation."""
    write(repository, folder)
    view, workspace = View(source=folder, workspace=folder), Workspace(folder, folder)
    search = Search(workspace, sandbox, view, find_ripgrep(view))
    registry = Registry([StrReplaceEditor(workspace, FOR_NANO), search])
    report = f"FAILED test_{repository.defects[0].function}"
    messages = [Message("system", prompt("nano_system"))]
    messages.append(Message("user", prompt("fix", report=report)))
    for call in ideal_calls(repository):
        messages.append(Message("assistant", "", tool_calls=(call,)))
        if call.arguments.get("command") == "str_replace":
            break
        messages.append(Message("tool", registry.call(call.name, call.arguments).text))
    return messages


def rewrite(repository: Repository) -> list[Message]:
    """Return the reply that edits, with nothing before it."""
    *_, edit, _, _ = ideal_calls(repository)
    return [Message("system", ""), Message("assistant", "", tool_calls=(edit,))]


def tokenize_rewrite(
    repository: Repository, tokenizer: Tokenizer, transcript: Transcript
) -> Sample:
    """Return the ids of an edit alone; what comes after the broken text is to be produced."""
    tokens, is_reply = tokenize(rewrite(repository), transcript)
    tokens = tokens[is_reply.index(True) :]
    num_given = len(tokens)
    while NEW_TEXT in tokenizer.decode(tokens[: num_given - 1]):
        num_given -= 1
    return tokens, [index >= num_given for index in range(len(tokens))]


def tokenize(messages: Sequence[Message], transcript: Transcript) -> tuple[list[int], list[bool]]:
    """Return the ids of a session, and which of them the model is to produce."""
    whole = transcript.render(messages, thinking=False)
    is_reply = [False] * len(whole.tokens)
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        start = len(transcript.render(messages[:index], thinking=False).tokens)
        end = whole.boundaries[index] - 1  # the newline after the turn's end is not generated
        is_reply[start:end] = [True] * (end - start)
    last = max(index for index, value in enumerate(is_reply) if value) + 1
    return list(whole.tokens[:last]), is_reply[:last]


def train_vocabulary(texts: Iterator[str], size: int, path: Path) -> None:
    """Train a byte-level BPE that holds the family's control tokens; write a tokenizer.json."""
    tokenizer = FastTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(TAGS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def session_text(messages: Sequence[Message]) -> str:
    """Spell a session out for the vocabulary to learn from; calls as the template writes them."""
    parts = []
    for message in messages:
        parts.append(f"{message.role}\n{message.content}\n")
        for call in message.tool_calls:
            assert isinstance(call, ToolCall)
            values = "".join(
                f"<parameter={name}>\n{value}\n</parameter>\n"
                for name, value in call.arguments.items()
            )
            parts.append(f"\n<function={call.name}>\n{values}</function>\n")
    return "".join(parts)


def sessions(
    seeds: range,
    sandbox: Sandbox,
    make: Callable[[Repository, Path, Sandbox], list[Message]] = ideal_session,
) -> Iterator[list[Message]]:
    """Carry out the session of every seed, each in a fresh folder of one name."""
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as base:
        folder = Path(base) / "work"
        for seed in seeds:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            yield make(generate(seed), folder, sandbox)


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _range(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last))


def main() -> None:
    """Read the arguments; write the vocabulary first if there is none, then the shards."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=_range, required=True)
    parser.add_argument("--test-seeds", type=_range, default=range(HELD_OUT, HELD_OUT + 128))
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--exercises", action="store_true", help="only the middle of each session")
    kinds.add_argument("--rewrites", action="store_true", help="only the edits")
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--vocabulary-sessions", type=int, default=600)
    arguments = parser.parse_args()
    if arguments.seeds.stop > HELD_OUT:
        parser.error(f"seeds from {HELD_OUT} on are held out")
    sandbox, file = WarmPytest(), arguments.out / "tokenizer.json"
    if not file.exists():
        some = arguments.seeds[: arguments.vocabulary_sessions]
        texts = (session_text(messages) for messages in sessions(some, sandbox))
        train_vocabulary(texts, arguments.vocabulary, file)
    tokenizer = Tokenizer.from_folder(arguments.out)
    transcript = Transcript(tokenizer, NANO)

    def whole(seeds: range) -> list[Sample]:
        return [tokenize(messages, transcript) for messages in sessions(seeds, sandbox)]

    def middles(seeds: range) -> list[Sample]:
        return [tokenize(messages, transcript) for messages in sessions(seeds, sandbox, exercise)]

    def rewrites(seeds: range) -> list[Sample]:
        return [tokenize_rewrite(generate(seed), tokenizer, transcript) for seed in seeds]

    write_shards(arguments.out / "test", "", arguments.test_seeds, whole)
    if arguments.exercises:
        write_shards(arguments.out / "train", "exercises-", arguments.seeds, middles)
    elif arguments.rewrites:
        write_shards(arguments.out / "train", "rewrites-", arguments.seeds, rewrites)
    else:
        write_shards(arguments.out / "train", "sessions-", arguments.seeds, whole)


def write_shards(
    folder: Path, prefix: str, seeds: range, make: Callable[[range], list[Sample]]
) -> None:
    """Write the samples of `seeds`, a shard at a time; a shard that is there is not made again."""
    folder.mkdir(exist_ok=True)
    for first in range(seeds.start, seeds.stop, SHARD_SEEDS):
        shard = folder / f"{prefix}{first:07d}.npz"
        if shard.exists():
            continue
        started = time.perf_counter()
        done = make(range(first, min(first + SHARD_SEEDS, seeds.stop)))
        write_shard(shard, done)
        lengths = sorted(len(tokens) for tokens, _ in done)
        rate = len(done) / (time.perf_counter() - started)
        print(
            f"{shard.name}: {rate:.1f} a second, median {lengths[len(lengths) // 2]} tokens, "
            f"longest {lengths[-1]}, asked for {sum(sum(m) for _, m in done) / sum(lengths):.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
