"""The same repair through servers with nano behind them: ours, and one of another project."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from evals.nano.evaluate import Settings, run_all
from inference.chat import ChatModel
from inference.local import NANO_FOLDER, open_chat
from inference.remote import open_remote
from inference.remote_server import ServerSettings
from tests.agent.test_serve import serving
from tests.plain import plain_python

SEEDS = range(900_000, 900_001)
WINDOW = 4096
START_S = 600.0
END_IDS = [1, 2]
"""Of <|im_end|> and <|endoftext|>: nano's own files leave to our profile what others must read."""
SERVE = "from transformers.cli.transformers import main; main()"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(NANO_FOLDER, folder / "nano", ignore=shutil.ignore_patterns("*.py", "__*"))
    more = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        "generation_config.json": {"eos_token_id": END_IDS, "pad_token_id": END_IDS[1]},
    }
    for name, content in more.items():
        (folder / "nano" / name).write_text(json.dumps(content))
    port = random.randrange(20_000, 30_000)  # below those that the system gives to others
    words = ["serve", "nano", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *words, "--device", "cpu"],
        cwd=folder,  # so that the folder is the name of the model
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            httpx2.get(url).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("transformers serve did not start")


def outcome(chat: ChatModel) -> tuple[int, int, int]:
    (task,) = run_all(SEEDS, Settings(), lambda _request: chat, plain_python())
    return task.exit_code, task.num_turns, task.num_calls


@pytest.mark.slow
def test_nano_repairs_the_same_behind_a_server_of_another_project(server: str) -> None:
    served = open_remote(ServerSettings(server, context_tokens=WINDOW), "nano")
    assert served.context_tokens == WINDOW

    assert outcome(served) == outcome(open_chat("nano")) == (0, 5, 5)


@pytest.mark.slow
def test_nano_repairs_the_same_behind_our_own_server(tmp_path: Path) -> None:
    with serving("key", tmp_path, lambda: open_chat("nano")) as (address, costs):
        settings = ServerSettings(f"{address}/v1")
        served = open_remote(settings, "nano", environment={"QWEN_AGENT_ENGINE_KEY": "key"})
        assert served.context_tokens == WINDOW, "the server says it"
        assert outcome(served) == (0, 5, 5)
    read = sum(cost.num_prefilled for cost in costs)
    assert read < costs[-1].num_prompt + len(costs), "no token twice, but each reply's last one"
