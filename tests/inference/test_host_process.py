"""The host as a process of its own: who starts it, what it holds, what its end costs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import transformers

from inference.door import EngineSettings
from inference.errors import Cancelled, EngineGone, ModelUnavailable
from inference.host_client import REPLACED, host_status
from inference.local import LocalChat, open_chat
from inference.messages import Message, Prefill, ReplyEnd, ReplyOptions, Restarting, SamplingOptions
from inference.tokenizer import Tokenizer
from tests.inference.faults import is_ended, wait_for

ROOT = Path(__file__).parent.parent.parent
START = [Message("system", "You mend code."), Message("user", "The test fails.")]
OPTIONS = ReplyOptions(SamplingOptions(), max_new_tokens=12, thinking=False)
WEIGHT_BYTES = 60_000 * 256 * 4
FRONT_END = """
import json, sys
from inference.local import open_chat
from inference.messages import Message, ReplyOptions, SamplingOptions

chat = open_chat(sys.argv[1], host=True, idle_limit_s=600)
messages = [Message("system", "You mend code."), Message("user", sys.argv[2])]
options = ReplyOptions(SamplingOptions(), 12, thinking=False)
*_, end = chat.reply(messages, (), options, lambda: False)
heavy = [name for name in ("torch", "transformers", "accelerate") if name in sys.modules]
print(json.dumps({"pid": chat.engine.pid, "ids": end.message.token_ids, "heavy": heavy,
                  "reused": end.usage.num_reused}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer: Tokenizer, definition: str) -> Path:
    """Sixty megabytes of weights, nearly all of them rows of a vocabulary nobody uses."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(5)
    config = transformers.Qwen3_5TextConfig(
        vocab_size=60_000,
        hidden_size=256,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        module.get_input_embeddings().weight[tokenizer.vocab_size :] = 0.0  # never the likeliest
    module.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(definition, encoding="utf-8")
    (folder / "profile.json").write_text(json.dumps({"profile": "nano"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Folders for these tests alone; no host is left behind in them."""
    base = tmp_path_factory.mktemp("user")
    (base / "run").mkdir()
    names = {"RUNTIME_DIR": "run", "CACHE_HOME": "cache", "STATE_HOME": "state"}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in names.items():
            patch.setenv(f"XDG_{name}", str(base / folder))
        patch.setenv("SOME_API_KEY", "secret")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield dict(os.environ)
        for status in host_status():
            os.kill(status.pid, signal.SIGTERM)
            wait_for(lambda pid=status.pid: is_ended(pid), limit_s=60)


def front_end(folder: Path, question: str) -> subprocess.Popen[str]:
    """Start a front end whose output is read until its end, as by `| cat`."""
    return subprocess.Popen(
        [sys.executable, "-c", FRONT_END, str(folder), question],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def answers(processes: Sequence[subprocess.Popen[str]]) -> list[dict]:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def open_slow(folder: Path) -> LocalChat:
    """A host that guesses nothing: what ends it comes before the end of a long reply."""
    return open_chat(EngineSettings(str(folder), speculation="off"), host=True)


def reply(chat: LocalChat, messages: Sequence[Message]) -> ReplyEnd:
    *_, end = chat.reply(messages, (), OPTIONS, lambda: False)
    assert isinstance(end, ReplyEnd)
    return end


@pytest.mark.slow
def test_front_ends_that_start_at_once_share_one_detached_host_and_load_no_torch(
    checkpoint: Path, environment: dict[str, str]
) -> None:
    one, two = answers([front_end(checkpoint, "Mend it."), front_end(checkpoint, "Mend it.")])
    assert one["pid"] == two["pid"]
    assert one["heavy"] == two["heavy"] == []
    assert one["ids"] == two["ids"]
    pid = one["pid"]
    # Both are gone, their output has ended, and the host is still there for the next.
    (third,) = answers([front_end(checkpoint, "Something else.")])
    assert third["pid"] == pid
    assert third["reused"] > 5  # the system message that another process has read

    process = Path(f"/proc/{pid}")
    assert (process / "cwd").readlink() == Path("/")
    assert os.getsid(pid) != os.getsid(0)
    assert int((process / "stat").read_text().rpartition(")")[2].split()[4]) == 0  # no terminal
    held = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
    (status,) = host_status()
    assert {name for name in held if name.startswith(("/", "pipe:"))} == {"/dev/null", status.log}
    assert b"secret" not in (process / "environ").read_bytes()
    assert Path(status.log).stat().st_mode & 0o777 == 0o600
    assert (status.pid, status.num_clients, status.is_ready) == (pid, 0, True)

    # A second front end adds no second copy of the weights.
    chats = [open_chat(checkpoint, host=True)]
    reply(chats[0], START)
    (before,) = host_status()
    chats.append(open_chat(checkpoint, host=True))
    reply(chats[1], [*START, Message("assistant", "Where?"), Message("user", "Here.")])
    (after,) = host_status()
    assert after.num_clients == 2
    assert after.rss_bytes > WEIGHT_BYTES
    assert after.rss_bytes - before.rss_bytes < WEIGHT_BYTES / 2


@pytest.mark.slow
def test_a_chat_over_the_host_says_what_a_chat_in_this_process_says(checkpoint: Path) -> None:
    hosted, local = open_chat(checkpoint, host=True), open_chat(checkpoint)
    messages = list(START)
    for turn in range(3):
        ends = [reply(chat, messages) for chat in (hosted, local)]
        assert ends[0].message == ends[1].message
        assert turn == 0 or ends[0].usage.num_prefilled == ends[1].usage.num_prefilled
        messages += [ends[0].message, Message("user", f"go on {turn}")]
    assert hosted.context_tokens == local.context_tokens == 4096
    assert hosted.name == local.name


@pytest.mark.fault
def test_a_host_killed_in_mid_reply_costs_both_the_turn_and_neither_the_conversation(
    checkpoint: Path,
) -> None:
    chats = [open_slow(checkpoint) for _ in range(2)]
    talks = [list(START), [START[0], Message("user", "Another thing.")]]
    for chat, talk in zip(chats, talks, strict=True):
        talk += [reply(chat, talk).message, Message("user", "And now?")]
    pid = chats[0].engine.pid
    options = ReplyOptions(SamplingOptions(), max_new_tokens=4000, thinking=False)
    streams = [
        chat.reply(talk, (), options, lambda: False)
        for chat, talk in zip(chats, talks, strict=True)
    ]
    for stream in streams:
        assert isinstance(next(stream), Prefill)
    os.kill(pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(EngineGone, match=rf"The engine's process ended \(pid {pid}"):
            list(stream)
    wait_for(lambda: is_ended(pid), limit_s=60)
    ends = [reply(chat, talk) for chat, talk in zip(chats, talks, strict=True)]
    assert all(end.usage.num_generated > 0 for end in ends)
    assert chats[0].engine.pid == chats[1].engine.pid != pid


@pytest.mark.slow
def test_who_does_not_want_to_wait_for_another_host_need_not(checkpoint: Path) -> None:
    chat = open_chat(checkpoint, host=True)
    assert isinstance(reply(chat, START), ReplyEnd)
    os.kill(chat.engine.pid, signal.SIGKILL)
    wait_for(lambda: not chat.engine.is_there, limit_s=60)
    stream = chat.reply(START, (), OPTIONS, lambda: True)
    assert next(stream) == Restarting()
    with pytest.raises(Cancelled):
        next(stream)
    assert reply(chat, START).notices == (REPLACED,)


@pytest.mark.fault
def test_a_host_killed_between_two_turns_is_replaced_and_both_front_ends_are_told(
    checkpoint: Path,
) -> None:
    chats = [open_chat(checkpoint, host=True) for _ in range(2)]
    before = [reply(chat, START) for chat in chats]
    assert [end.notices for end in before] == [(), ()]
    pid = chats[0].engine.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_ended(pid), limit_s=60)
    after = [reply(chat, START) for chat in chats]
    assert [end.message for end in after] == [end.message for end in before]
    assert [end.notices for end in after] == [(REPLACED,), (REPLACED,)]
    assert reply(chats[0], START).notices == ()
    assert chats[0].engine.pid == chats[1].engine.pid != pid


def test_who_wants_no_reuse_shares_the_host_and_reads_everything(checkpoint: Path) -> None:
    chat, without = open_chat(checkpoint, host=True), open_chat(checkpoint, host=True, reuse=False)
    assert chat.engine.pid == without.engine.pid
    assert reply(chat, START).message == reply(without, START).message
    assert reply(without, START).usage.num_reused == 0
    assert reply(chat, START).usage.num_prefilled == 0


@pytest.mark.fault
def test_a_host_can_be_ended_though_whoever_started_it_held_signals_back(
    checkpoint: Path, tmp_path: Path
) -> None:
    for file in checkpoint.iterdir():  # another folder, another host
        (tmp_path / file.name).symlink_to(file)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        chat = open_chat(tmp_path, host=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(chat.engine.pid, signal.SIGTERM)
    wait_for(lambda: is_ended(chat.engine.pid), limit_s=60)


@pytest.mark.fault
def test_sigterm_ends_a_host_in_mid_reply_and_takes_its_socket_away(
    checkpoint: Path, environment: dict[str, str]
) -> None:
    chat = open_slow(checkpoint)
    runtime = Path(environment["XDG_RUNTIME_DIR"])
    sockets = set(runtime.rglob("*.sock"))
    options = ReplyOptions(SamplingOptions(), max_new_tokens=4000, thinking=False)
    stream = chat.reply([START[0], Message("user", "New.")], (), options, lambda: False)
    assert isinstance(next(stream), Prefill)
    os.kill(chat.engine.pid, signal.SIGTERM)
    with pytest.raises(EngineGone):
        list(stream)
    wait_for(lambda: is_ended(chat.engine.pid), limit_s=60)
    assert len(sockets - set(runtime.rglob("*.sock"))) == 1


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_refused_as_in_this_process(
    checkpoint: Path, tmp_path: Path
) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).symlink_to(file)
    weights = tmp_path / "model.safetensors"
    weights.unlink()
    weights.write_bytes((checkpoint / "model.safetensors").read_bytes()[:-1000])
    said = []
    for is_hosted in (False, True):
        with pytest.raises(ModelUnavailable, match="download it again") as caught:
            open_chat(tmp_path, host=is_hosted)
        said.append(str(caught.value))
    assert said[0] == said[1]
    with pytest.raises(ModelUnavailable, match="neither a folder nor a hub id"):
        open_chat("no such model", host=True)
    assert str(tmp_path) not in [status.source for status in host_status()]


@pytest.mark.slow
def test_a_host_leaves_by_itself_when_the_last_front_end_has_left(tmp_path: Path) -> None:
    chat = open_chat("nano", host=True, idle_limit_s=10.0)  # in which we must get there
    pid = chat.engine.pid
    reply(chat, START)
    chat.engine.close()
    wait_for(lambda: is_ended(pid), limit_s=60)
