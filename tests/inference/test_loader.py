"""A checkpoint is loaded whole, or refused with one sentence that names the file."""

import json
import re
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from inference.door import LoadProgress
from inference.errors import ModelUnavailable
from inference.headers import read_header
from inference.hub import progress_bar
from inference.loader import _dtype, load

FAMILIES = ("qwen3_5", "qwen3_5_moe", "qwen3", "qwen3_moe", "qwen2")
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def logits_of(module) -> torch.Tensor:
    with torch.inference_mode():
        return module(torch.tensor([TOKENS])).logits[0]


def refusal(where: object, **options) -> str:
    """Return the sentence that loading ends with."""
    with pytest.raises(ModelUnavailable) as caught:
        load(str(where), **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, make_module) -> dict[str, Path]:
    """Return a folder of each family, written by transformers."""
    root = tmp_path_factory.mktemp("checkpoints")
    for family in FAMILIES:
        make_module(family).save_pretrained(root / family)
    return {family: root / family for family in FAMILIES}


@pytest.fixture
def folder(checkpoints, tmp_path) -> Path:
    """Return a Qwen3.5 checkpoint that the test may damage."""
    return Path(shutil.copytree(checkpoints["qwen3_5"], tmp_path / "model"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_as_it_was_saved(family, checkpoints, make_module) -> None:
    loaded = load(str(checkpoints[family]), device="cpu")
    assert loaded.model.dtype == torch.float32
    assert loaded.folder == checkpoints[family]
    assert loaded.config["vocab_size"] == loaded.model.vocab_size == 97
    assert loaded.model.context_tokens == 4096
    logits = loaded.model.forward_all(TOKENS, loaded.model.new_state())
    torch.testing.assert_close(logits, logits_of(make_module(family)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
@pytest.mark.parametrize("tied", [False, True])
def test_of_a_vision_checkpoint_the_text_part_is_loaded(
    family, tied, checkpoints, tmp_path, make_module
) -> None:
    module = make_module(family)
    if tied:
        module.lm_head.weight = module.model.embed_tokens.weight
    weights = load_file(checkpoints[family] / "model.safetensors")
    if tied:
        del weights["lm_head.weight"]
    named = {name.replace("model.", "model.language_model.", 1): w for name, w in weights.items()}
    named["model.visual.blocks.0.norm1.weight"] = torch.zeros(8)
    named["mtp.fc.weight"] = torch.zeros(8, 8)
    save_file(named, tmp_path / "model.safetensors", metadata={"format": "pt"})
    text = json.loads((checkpoints[family] / "config.json").read_text())
    config = {"model_type": family, "text_config": text, "tie_word_embeddings": tied}
    config["vision_config"] = {"model_type": f"{family}_vision", "depth": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load(str(tmp_path), device="cpu")
    assert not any("visual" in name for name, _ in loaded.model.module.named_parameters())
    logits = loaded.model.forward_all(TOKENS, loaded.model.new_state())
    torch.testing.assert_close(logits, logits_of(module), rtol=1e-3, atol=1e-4)


def test_a_sharded_checkpoint_loads(tmp_path, make_module) -> None:
    module = make_module("qwen3_5")
    module.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    loaded = load(str(tmp_path), device="cpu")
    logits = loaded.model.forward_all(TOKENS, loaded.model.new_state())
    torch.testing.assert_close(logits, logits_of(module), rtol=1e-3, atol=1e-4)


def test_a_missing_shard_is_named(tmp_path, make_module) -> None:
    make_module("qwen3_5").save_pretrained(tmp_path, max_shard_size="40KB")
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    assert f"lacks {lost.name} (1 of " in refusal(tmp_path)


@pytest.mark.parametrize("num_bytes", [0, 4, 100, -1, -1000])
def test_a_truncated_file_is_named(folder, num_bytes) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:num_bytes])
    sentence = refusal(folder)
    assert str(file) in sentence
    assert "download it again" in sentence


@pytest.mark.parametrize("header", [b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\x09" + b"\0" * 7])
def test_a_file_of_something_else_is_named(folder, header) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(header + b'{"a": 12}')
    assert str(file) in refusal(folder)


def test_a_header_is_read_once_for_as_long_as_its_file_stays_as_it_is(folder) -> None:
    file = folder / "model.safetensors"
    known = read_header(file)
    assert read_header(file) is known
    save_file({**load_file(file), "one_more": torch.zeros(1)}, file)
    assert {"one_more"} == read_header(file).keys() - known.keys()


def test_a_missing_tensor_is_not_made_up(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.linear_attn.A_log"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "no value for model.layers.1.linear_attn.A_log" in refusal(folder)


def test_a_missing_head_is_not_made_up(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "no value for lm_head.weight" in refusal(folder)


def test_a_wrong_shape_is_named(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros(33)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "a wrong shape for model.norm.weight" in refusal(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\0"])
def test_a_damaged_config_is_named(folder, content) -> None:
    (folder / "config.json").write_text(content)
    assert str(folder / "config.json") in refusal(folder)


def test_a_config_that_makes_no_sense_is_named(folder) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = "four"
    (folder / "config.json").write_text(json.dumps(config))
    assert str(folder / "config.json") in refusal(folder)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_whatever_a_key_of_the_config_is_there_is_a_model_or_a_sentence(folder) -> None:
    good = json.loads((folder / "config.json").read_text())
    outer = {"text_config": good, "vision_config": {}, "quantization_config": None}
    for key in (*good, *outer):
        for value in (None, [1], "four", -3):
            config = {**good, key: value}
            (folder / "config.json").write_text(json.dumps(config))
            sentence = ""
            try:
                load(str(folder), device="cpu")
            except ModelUnavailable as error:
                sentence = str(error)
            assert not sentence or re.fullmatch(r"[^\n]+\.", sentence), (key, value)
    (folder / "config.json").write_text(json.dumps({**outer, "model_type": ["qwen3_5"]}))
    assert "of type ['qwen3_5']" in refusal(folder)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_not_quantized(
    folder, kind, value, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    weights[name][3, 5] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"{name} holds numbers that are none" in refusal(folder, device="cpu", weights=kind)
    left = [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert left == ["lock"]
    assert load(str(folder), device="cpu", weights="16bit").model.quantization == ""


def test_another_family_is_refused_with_the_ones_that_work(folder) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    sentence = refusal(folder)
    assert "'llama'" in sentence
    assert "Qwen3.5, Qwen3.5 MoE, Qwen3, Qwen3 MoE, Qwen2.5" in sentence


def test_sliding_windows_are_refused(checkpoints, tmp_path) -> None:
    shutil.copytree(checkpoints["qwen2"], tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    config |= {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}
    del config["layer_types"]
    file.write_text(json.dumps(config))
    assert "not supported" in refusal(tmp_path / "model")


def test_an_empty_folder_and_one_without_weights_are_told_apart(tmp_path, folder) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refusal(tmp_path / "empty")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "has no model.safetensors" in refusal(folder)


def test_an_index_that_lists_nothing_is_named(folder) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    assert "model.safetensors.index.json lists no weights" in refusal(folder)


def test_an_index_names_files_of_its_own_folder_only(folder) -> None:
    (folder.parent / "other.safetensors").write_bytes(b"")
    index = {"weight_map": {"lm_head.weight": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names a file of another folder" in refusal(folder)


def test_a_file_that_only_points_to_git_lfs_is_told_so(folder) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    (folder / "model.safetensors").write_text(pointer)
    assert "it only points to Git LFS, where `git lfs pull` fetches it" in refusal(folder)


@pytest.mark.parametrize(
    "where", ["/no/such/folder", "nonsense", "a/b/c", "", " ", "../x", "a b/c"]
)
def test_what_is_neither_folder_nor_hub_id_is_refused(where) -> None:
    assert "neither a folder nor a hub id" in refusal(where)


def test_a_hub_id_offline_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sentence = refusal("nobody/has-this-model")
    assert "HF_HUB_OFFLINE" in sentence
    assert "folder of a checkpoint" in sentence


def test_a_hub_id_in_the_cache_loads_offline(monkeypatch, tmp_path, checkpoints) -> None:
    repo = tmp_path / "models--someone--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    shutil.copytree(checkpoints["qwen3_5"], repo / "snapshots" / ("0" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub._snapshot_download.constants, "HF_HUB_CACHE", str(tmp_path))
    loaded = load("someone/tiny", device="cpu")
    assert loaded.folder == repo / "snapshots" / ("0" * 40)


def test_a_server_that_refuses_is_reported_in_a_sentence(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert re.search(r"no folder here|broke off", refusal("nobody/has-this-model"))


def test_the_bar_reports_bytes_only() -> None:
    seen: list[LoadProgress] = []
    bar = progress_bar(seen.append)
    files = bar(desc="Fetching 3 files", total=3)
    files.update(1)
    with bar(desc="Downloading bytes", unit="B", unit_scale=True, total=0) as counter:
        counter.total += 100
        counter.update(30)
        counter.update(70)
    assert seen == [LoadProgress(30, 100), LoadProgress(100, 100)]


def test_devices_that_are_not_there_are_refused(folder) -> None:
    assert "is no device" in refusal(folder, device="toaster")
    if not torch.cuda.is_available():
        assert "no CUDA device" in refusal(folder, device="cuda")


def test_memory_that_is_short_is_called_by_whose_it_is(folder) -> None:
    def fill_up(_seen: LoadProgress) -> None:
        raise MemoryError

    with pytest.raises(ModelUnavailable, match="does not fit into the memory of this machine; "):
        load(str(folder), device="cpu", on_progress=fill_up)


def test_the_precision_asked_for_is_the_precision_loaded(folder) -> None:
    loaded = load(str(folder), device="cpu", dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.forward(TOKENS, loaded.model.new_state()).dtype == torch.float32


def test_auto_precision_keeps_small_models_exact() -> None:
    cpu = torch.device("cpu")
    assert _dtype("auto", cpu, 8_000_000) == torch.float32
    assert _dtype("auto", torch.device("cuda"), 8_000_000) == torch.bfloat16
    features = torch.cpu.get_capabilities()
    fast = features.get("avx512_bf16") or features.get("amx_bf16")
    expected = torch.bfloat16 if fast else torch.float32
    assert _dtype("auto", cpu, 800_000_000) == expected


def test_loading_leaves_the_settings_of_transformers_as_they_were(folder) -> None:
    before = transformers.logging.get_verbosity()
    load(str(folder), device="cpu")
    assert transformers.logging.get_verbosity() == before
