import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.arguments import parse
from agent.config import config_file, load_config, narrow, state_folder
from agent.errors import ConfigError, UsageError
from agent.frontends.asked import request_of
from agent.hardware import GIB, Gpu, Hardware
from agent.models import auto_plan, cached_models, resolve
from agent.request import FixRequest
from agent.settings import Budget, Config, GuardConfig, SandboxConfig
from agent.wording import prompt
from agent.workplace import find_repository
from inference.errors import ModelUnavailable
from inference.models import SHAPES
from inference.pins import hub_cache


def toml(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_settings_change_the_defaults_they_name(tmp_path: Path) -> None:
    text = '[model]\nname = "Qwen/Qwen3.5-4B"\n[budget]\nmax_time_s = 60\n'
    config = load_config(toml(tmp_path, text))
    assert config.model.name == "Qwen/Qwen3.5-4B"
    assert config.budget == Budget(max_time_s=60.0)
    assert load_config(tmp_path / "none.toml") == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[nothing]\nx = 1\n", "nothing is not a table"),
        ("budget = 3\n", "budget is not a table"),
        ("[budget]\nmax_stops = 1\n", "budget.max_stops is no setting; known are max_calls"),
        ('[budget]\nmax_steps = "3"\n', "must be a whole number"),
        ("[budget]\nmax_steps = true\n", "must be a whole number"),
        ("[verify]\nsyntax = 1\n", "must be true or false, not 1"),
        ("[budget]\nmax_steps = 0\n", "must be more than 0"),
        ("[budget]\nmax_time_s = nan\n", "must be more than 0"),
        ("[guard]\nnote_at = 9\n", "must not decrease"),
        ('[model]\nthinking_history = "drop"\n', "preserve or strip, not 'drop'"),
        ('[model]\neditor = "vi"\n', "editor is full or plain, not 'vi'"),
        ('[model]\nkv = "8bit"\n', "kv is auto, 16bit, int8 or int4, not '8bit'"),
        ('[model]\nstate = "bf16"\n', "state is float32 or float16, not 'bf16'"),
        ("[model]\ncontext = -1\n", "context must be 0 or more, not -1"),
        ('[model]\ncpu_expert_layers = "all"\n', "must be a whole number, not 'all'"),
        ('[model]\nspeculation = "on"\n', "speculation is auto or off, not 'on'"),
        ('[model]\nweights = "4bit"\n', "auto, 16bit, int8 or nf4, not '4bit'"),
        ('[approval]\ndenied_tools = ["rm"]\n', "denied_tools names 'rm'"),
        ("[approval]\ndenied_tools = [3]\n", "must be a list of strings"),
        ("[budget\n", "not valid TOML"),
        ("[cache]\ndisk_gib = 1" + 400 * "0", "disk_gib is too large"),
        ("[cache]\ndisk_gib = 1" + 5000 * "0", "not valid TOML"),
        ("# " + "x" * 70_000, "larger than"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(toml(tmp_path, text))
    assert str(tmp_path) in str(caught.value)


def test_a_repository_narrows_and_what_would_widen_is_told(tmp_path: Path) -> None:
    text = (
        "[budget]\nmax_steps = 5\nmax_calls = 100000\nodd = 1\n[guard]\nstop_at = 99\n"
        '[sandbox]\ncommand_s = 10\n[approval]\ndenied_tools = ["bash"]\n'
        '[model]\nname = "x"\n'
    )
    (tmp_path / ".qwen-agent.toml").write_text(text)
    config, ignored = narrow(Config(), tmp_path)
    assert (config.budget.max_steps, config.budget.max_calls) == (5, Budget().max_calls)
    assert config.sandbox.command_s == 10.0
    assert config.approval.denied_tools == ("bash",)
    assert config.guard == GuardConfig()
    assert sorted(ignored) == ["budget.max_calls", "budget.odd", "guard", "model"]


def test_a_repository_can_close_a_way_out_and_open_none(tmp_path: Path) -> None:
    mine = Config(sandbox=SandboxConfig(allow_hosts=("pypi.org", "*.debian.org")))
    (tmp_path / ".qwen-agent.toml").write_text('[sandbox]\nallow_hosts = ["pypi.org", "evil.com"]')
    config, ignored = narrow(mine, tmp_path)
    assert config.sandbox.allow_hosts == ("pypi.org",)
    assert ignored == ("sandbox.allow_hosts",)
    (tmp_path / ".qwen-agent.toml").write_text("[sandbox]\nallow_hosts = []")
    assert narrow(mine, tmp_path)[0].sandbox.allow_hosts == ()
    (tmp_path / ".qwen-agent.toml").write_text("[sandbox]\ncommand_s = 5.0")
    assert narrow(mine, tmp_path)[0].sandbox.allow_hosts == ("pypi.org", "*.debian.org")
    with pytest.raises(ValueError, match="no host to allow"):
        SandboxConfig(allow_hosts=("127.0.0.1",))


def test_hosts_that_are_typed_come_to_those_of_the_settings() -> None:
    mine = Config(sandbox=SandboxConfig(allow_hosts=("pypi.org",)))
    words = ["fix", "--allow-host", "deb.debian.org", "--allow-host", "pypi.org"]
    hosts = request_of(parse(words), mine).config.sandbox.allow_hosts
    assert hosts == ("pypi.org", "deb.debian.org")
    with pytest.raises(UsageError, match=r"--allow-host: .* is no host"):
        request_of(parse(["fix", "--allow-host", "10.0.0.1"]), mine)


def test_the_folders_follow_the_xdg_variables_and_ignore_relative_ones() -> None:
    assert state_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/qwen-agent")
    assert state_folder({"XDG_STATE_HOME": "s"}) == Path.home() / ".local/state/qwen-agent"
    assert config_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/qwen-agent/config.toml")


def test_a_request_survives_the_journal() -> None:
    request = FixRequest(
        Path("/repo"),
        issue="x",
        test_command=("a", "b"),
        tests=("t",),
        python=Path("/p"),
        config=Config(budget=Budget(max_steps=3)),
    )
    assert FixRequest.from_record(json.loads(json.dumps(request.to_record()))) == request


def test_a_repository_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    (tmp_path / "repo/a/b").mkdir(parents=True)
    assert find_repository(tmp_path / "repo/a/b") == tmp_path / "repo"
    with pytest.raises(UsageError, match="git init"):
        find_repository(tmp_path)


def test_braces_in_a_value_stay_as_they_are() -> None:
    assert prompt("fix", report="{issue} {0}").endswith("\n\n{issue} {0}")


# --- models


HEADER_BYTES = 200


def cached(cache: Path, name: str, config: Mapping[str, Any], num_bytes: int = 1000) -> Path:
    """Put a checkpoint into a hub cache, whose weights are so many zeros and take no room."""
    entry = cache / f"models--{name.replace('/', '--')}"
    folder = entry / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dict(config)))
    (folder / "tokenizer.json").write_text("{}")
    num = num_bytes - HEADER_BYTES - 8
    zeros = {"zeros": {"dtype": "U8", "shape": [num], "data_offsets": [0, num]}}
    with (folder / "model.safetensors").open("wb") as file:
        file.write(HEADER_BYTES.to_bytes(8, "little"))
        file.write(json.dumps(zeros).ljust(HEADER_BYTES).encode())
        os.truncate(file.fileno(), num_bytes)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("abc")
    return folder


def test_auto_is_the_largest_model_here_that_the_planner_says_fits(tmp_path: Path) -> None:
    variables = {"HF_HUB_CACHE": str(tmp_path)}
    cached(tmp_path, "Qwen/Small", SHAPES["0.8B"], 3000)
    large = cached(tmp_path, "Qwen/Large", SHAPES["2B"], 2000)
    cached(tmp_path, "Qwen/Huge", SHAPES["397B-A17B"], 300)
    toy = cached(tmp_path, "our/nano", SHAPES["4B"])
    (toy / "profile.json").write_text('{"profile": "nano"}')
    cached(tmp_path, "other/Foreign", {"model_type": "llama"}, 3000)
    assert resolve("auto", variables) == str(large)
    found = {model.hub_id: model.num_bytes for model in cached_models(variables)}
    assert found.pop("our/nano") == 1000
    assert found == {"Qwen/Small": 3000, "Qwen/Large": 2000, "Qwen/Huge": 300}


def test_auto_is_what_the_gpu_holds_where_there_is_one(tmp_path: Path) -> None:
    variables = {"HF_HUB_CACHE": str(tmp_path)}

    def auto(gib: int) -> str | None:
        card = Hardware(64 * GIB, Gpu("a GPU", gib * GIB), has_bfloat16=True)
        found = auto_plan(card, variables)
        return found[0].hub_id if found and found[1].room.device == "cuda" else None

    cached(tmp_path, "Qwen/Experts", SHAPES["35B-A3B"])
    assert (auto(24), auto(16), auto(2)) == ("Qwen/Experts", "Qwen/Experts", None)
    cached(tmp_path, "Qwen/Whole", SHAPES["9B"])
    assert (auto(24), auto(16), auto(2)) == ("Qwen/Experts", "Qwen/Whole", None)
    tiny = Hardware(64 * GIB, Gpu("a GPU", 2 * GIB), has_bfloat16=True)
    assert auto_plan(tiny, variables) is None


def test_a_model_that_is_stored_in_few_bits_is_planned_in_these(tmp_path: Path) -> None:
    stored = {"quantization_config": {"quant_method": "fp8"}}
    cached(tmp_path, "Qwen/Packed", {**SHAPES["9B"], **stored})
    variables = {"HF_HUB_CACHE": str(tmp_path)}
    hardware = Hardware(64 * GIB, Gpu("a GPU", 24 * GIB), has_bfloat16=True)
    found = auto_plan(hardware, variables)
    assert found is not None
    assert found[1].weights == "int8"
    assert auto_plan(replace(hardware, gpu=None), variables) is None  # what reads it needs one


def test_auto_passes_over_what_would_not_load(tmp_path: Path) -> None:
    variables = {"HF_HUB_CACHE": str(tmp_path)}
    small = cached(tmp_path, "Qwen/Small", SHAPES["0.8B"])
    (cached(tmp_path, "Qwen/Cut", SHAPES["2B"]) / "model.safetensors").write_bytes(b"cut off")
    (cached(tmp_path, "Qwen/Mute", SHAPES["4B"]) / "tokenizer.json").unlink()
    assert resolve("auto", variables) == str(small)


def test_auto_is_never_nano_and_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"models pull.*--model FOLDER.*HUB-ID.*nano") as no:
        resolve("auto", {"HF_HOME": str(tmp_path)})
    assert no.value.exit_code == 7
    assert hub_cache({"HF_HOME": str(tmp_path)}) == tmp_path / "hub"
    assert hub_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")


def test_a_name_that_stands_for_nothing_is_refused(tmp_path: Path) -> None:
    for name in ("qwen", "../x", "a/b/c"):
        with pytest.raises(ModelUnavailable, match="there is no model"):
            resolve(name)
    with pytest.raises(ModelUnavailable, match="no config"):
        resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="no tokenizer"):
        resolve(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="safetensors"):
        resolve(str(tmp_path))
    (tmp_path / "model.safetensors").touch()
    assert resolve(str(tmp_path)) == str(tmp_path)
    assert resolve("Qwen/Qwen3.5-4B") == "Qwen/Qwen3.5-4B"
    assert resolve("nano") == "nano"
