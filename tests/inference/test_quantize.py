"""Quantized weights: which tensors, what they weigh, one set of numbers for all ways to use them.

Here in int8, which needs nothing but torch; `test_nf4.py` says the same of four bits.
"""

import copy
import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.engine import Engine, GenerationEnd
from inference.errors import ModelUnavailable
from inference.experts import (
    EXPERTS,
    PLAIN_EXPERTS,
    _gathered,
    _one_by_one,
    run_experts,
    run_plainly,
)
from inference.identity import fingerprint
from inference.loader import _kind, load
from inference.messages import SamplingOptions
from inference.module import Placement, empty_module
from inference.opened import identity_of
from inference.packed_files import weights_folder
from inference.quantize import quantize, stacks_of
from inference.weight_cache import packed_file

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]
ROUNDED = {"rtol": 1e-3, "atol": 2e-2}
"""Few rows are rounded to 16 bits on a CPU, which these random layers make a hundred times more."""
FAMILIES = ("qwen3_5", "qwen3_5_moe", "qwen3_moe", "qwen2")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, make_module) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    for family in FAMILIES:
        make_module(family).save_pretrained(root / family)
    return {family: root / family for family in FAMILIES}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load_int8(folder: Path, **options):
    return load(str(folder), device="cpu", weights="int8", **options)


def dense_twin(module: torch.nn.Module, model) -> torch.nn.Module:
    """Return transformers' own module with the numbers that the stacks of `model` stand for."""
    twin = copy.deepcopy(module)
    for name, stack in stacks_of(model.module).items():
        matrices = [stack.dense(n, slice(None), torch.float32).clone() for n in range(stack.count)]
        weight = twin.get_parameter(name)
        weight.data = torch.stack(matrices).view(weight.shape)
    return twin


@pytest.mark.parametrize("family", FAMILIES)
def test_read_at_once_or_one_by_one_tokens_meet_the_same_weights(
    family, checkpoints, make_module
) -> None:
    model = load_int8(checkpoints[family]).model
    with torch.inference_mode():
        expected = dense_twin(make_module(family), model)(torch.tensor([TOKENS])).logits[0]
    at_once = model.forward_all(TOKENS, model.new_state())
    state = model.new_state()
    one_by_one = torch.stack([model.forward([token], state) for token in TOKENS])
    torch.testing.assert_close(at_once, expected, **ROUNDED)
    torch.testing.assert_close(one_by_one, expected, **ROUNDED)


def test_a_reply_of_quantized_experts_is_that_of_their_dense_twin(checkpoints, make_module) -> None:
    model = load_int8(checkpoints["qwen3_5_moe"]).model
    engine = Engine(model, cache_bytes=1_000_000)
    branch = engine.branch(TOKENS[:-1], lambda: False)
    events = engine.generate(
        branch, TOKENS[-1:], SamplingOptions(temperature=0), max_new_tokens=12, cancel=lambda: False
    )
    end = next(event for event in events if isinstance(event, GenerationEnd))
    twin = dense_twin(make_module("qwen3_5_moe"), model)
    with torch.inference_mode():
        logits = twin(torch.tensor([[*TOKENS, *end.token_ids]])).logits[0]
    assert logits[len(TOKENS) - 1 : -1].argmax(dim=-1).tolist() == list(end.token_ids)
    engine.close()


def test_what_a_layer_hangs_on_is_not_quantized(checkpoints) -> None:
    module = load_int8(checkpoints["qwen3_5_moe"]).model.module
    kept = {
        name.rpartition("layers.")[2].partition(".")[2] for name, _ in module.named_parameters()
    }
    layer = "linear_attn"
    assert {f"{layer}.{name}" for name in ("in_proj_a.weight", "in_proj_b.weight")} < kept
    assert {
        f"{layer}.{name}" for name in ("A_log", "dt_bias", "conv1d.weight", "norm.weight")
    } < kept
    assert {"mlp.gate.weight", "mlp.shared_expert_gate.weight", "input_layernorm.weight"} < kept
    quantized = {name.rpartition("layers.")[2].partition(".")[2] for name in stacks_of(module)}
    assert {"mlp.experts.gate_up_proj", "mlp.experts.down_proj", "linear_attn.out_proj.weight"} < (
        quantized
    )
    assert {"self_attn.q_proj.weight", "mlp.shared_expert.up_proj.weight"} < quantized


def test_a_tied_embedding_is_held_once(checkpoints, tmp_path, make_module) -> None:
    module = make_module("qwen3_5")
    module.lm_head.weight = module.model.embed_tokens.weight
    module.config.tie_word_embeddings = True
    module.save_pretrained(tmp_path / "tied")
    model = load_int8(tmp_path / "tied").model
    assert model.module.lm_head.weight is model.module.model.embed_tokens.weight
    untied = load_int8(checkpoints["qwen3_5"]).model
    matrix = model.module.lm_head.weight
    assert untied.weights_nbytes - model.weights_nbytes == matrix.rows * (matrix.columns + 4)
    logits = model.forward_all(TOKENS, model.new_state())
    with torch.inference_mode():
        expected = dense_twin(module, model)(torch.tensor([TOKENS])).logits[0]
    torch.testing.assert_close(logits, expected, **ROUNDED)


def test_the_weights_of_the_real_2b_are_what_is_promised() -> None:
    from evals.bench.shapes import SHAPES

    module = empty_module(SHAPES["2b"].config(), torch.bfloat16)
    quantize(module, "nf4")
    weights = (*module.parameters(), *(b for s in stacks_of(module).values() for b in s.buffers()))
    assert sum(weight.nbytes for weight in weights) <= 1_270_000_000


def test_experts_that_live_elsewhere_say_the_same(checkpoints) -> None:
    here = load_int8(checkpoints["qwen3_5_moe"]).model
    placement = Placement(embedding_on_cpu=True, num_cpu_expert_layers=2)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for name, home in (
        ("model.layers.1.mlp.experts.down_proj.values", cpu),
        ("model.layers.2.mlp.experts.down_proj.values", cuda),
        ("model.layers.1.mlp.shared_expert.down_proj.weight.values", cuda),
        ("model.embed_tokens.weight.scale", cpu),
        ("lm_head.weight.scale", cuda),
    ):
        assert placement.device_of(name, cuda) == home
    there = load_int8(checkpoints["qwen3_5_moe"], placement=placement).model
    logits = here.forward_all(TOKENS, here.new_state())
    assert torch.equal(there.forward_all(TOKENS, there.new_state()), logits)


def test_gathered_experts_say_what_they_say_one_by_one(checkpoints) -> None:
    layer = load_int8(checkpoints["qwen3_5_moe"]).model.module.model.layers[0].mlp.experts
    torch.manual_seed(1)
    rows, weights = torch.randn(5, 32), torch.rand(5, 2)
    index = torch.tensor([[0, 7], [7, 3], [2, 0], [5, 6], [3, 1]])
    expected = _one_by_one(layer, rows, index, weights)
    torch.testing.assert_close(_gathered(layer, rows, index, weights), expected, **ROUNDED)
    assert torch.equal(run_experts(layer, rows, index, weights), expected)
    assert torch.equal(run_plainly(layer, rows, index, weights), expected)


def test_without_fast_kernels_experts_are_run_one_by_one(checkpoints) -> None:
    for is_fast, name in ((True, EXPERTS), (False, PLAIN_EXPERTS)):
        model = load_int8(checkpoints["qwen3_5_moe"], fast_kernels=is_fast).model
        layers = [layer.mlp.experts for layer in model.module.model.layers]
        assert {layer.config._experts_implementation for layer in layers} == {name}


def test_the_second_start_maps_the_file_of_the_first(checkpoints) -> None:
    seen = []
    first = load_int8(checkpoints["qwen3_5"], on_progress=seen.append).model
    assert seen[-1].num_bytes == seen[-1].num_total_bytes > 0
    assert {progress.stage for progress in seen} == {"quantize"}
    seen.clear()
    second = load_int8(checkpoints["qwen3_5"], on_progress=seen.append).model
    assert not seen
    logits = first.forward_all(TOKENS, first.new_state())
    assert torch.equal(second.forward_all(TOKENS, second.new_state()), logits)


def test_weights_that_changed_are_quantized_again(tmp_path, make_module) -> None:
    make_module("qwen2").save_pretrained(tmp_path / "model")
    before = load_int8(tmp_path / "model").model
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    (old,) = weights_folder().glob("model-int8-*")
    after = load_int8(tmp_path / "model").model
    assert not old.exists(), "nothing uses it any more"
    assert not torch.equal(before.module.model.norm.weight, after.module.model.norm.weight)


def test_what_was_packed_of_a_disk_that_is_out_stays(checkpoints, tmp_path, make_module) -> None:
    make_module("qwen2").save_pretrained(tmp_path / "disk")
    load_int8(tmp_path / "disk")
    (packed,) = weights_folder().glob("disk-int8-*")
    (tmp_path / "disk").rename(tmp_path / "drawer")
    load_int8(checkpoints["qwen3_5"])
    assert packed.exists()


def test_a_damaged_file_is_made_again(checkpoints) -> None:
    first = load_int8(checkpoints["qwen2"]).model
    logits = first.forward_all(TOKENS, first.new_state())
    file = packed_file(checkpoints["qwen2"], "int8", weights_folder())
    content = bytearray(file.read_bytes())
    for damaged in (content[:-1], content[:40], b"", content[:-9] + b"\x55" + content[-8:]):
        file.unlink()  # the model above still has it mapped
        file.write_bytes(damaged)
        again = load_int8(checkpoints["qwen2"]).model
        assert torch.equal(again.forward_all(TOKENS, again.new_state()), logits)
        assert file.read_bytes() == content


def test_no_room_is_said_before_anything_is_written(checkpoints, monkeypatch) -> None:
    monkeypatch.setattr("inference.weight_file.SPARE_BYTES", 1 << 60)
    with pytest.raises(
        ModelUnavailable,
        match=r"GB free, the quantized weights need .* GB are left free; ",
    ):
        load_int8(checkpoints["qwen2"])
    assert [file.name for file in weights_folder().iterdir()] == ["lock"]


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(checkpoints, monkeypatch) -> None:
    def full(_stream, _content, _place) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("inference.weight_file.os.pwrite", full)
        with pytest.raises(ModelUnavailable, match="No space left on device"):
            load_int8(checkpoints["qwen2"])
    assert [file.name for file in weights_folder().iterdir()] == ["lock"]


def test_what_a_killed_process_left_is_removed_by_the_next(checkpoints) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "another-int8-0123456789abcdef.tmp").write_bytes(b"half")
    load_int8(checkpoints["qwen2"])
    assert {file.suffix for file in weights_folder().iterdir()} == {"", ".safetensors"}


def test_of_a_checkpoint_that_ends_too_early_nothing_is_left(checkpoints, tmp_path) -> None:
    weights = load_file(checkpoints["qwen2"] / "model.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoints["qwen2"] / "config.json").read_bytes())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    file = folder / "model.safetensors"

    def cut(_progress) -> None:
        with file.open("r+b") as stream:
            stream.truncate(file.stat().st_size // 2)

    with pytest.raises(ModelUnavailable, match="ends too early; download it again"):
        load_int8(folder, on_progress=cut)
    assert [file.name for file in weights_folder().iterdir()] == ["lock"]


def test_a_kind_that_no_weight_is_of_is_named(checkpoints, tmp_path) -> None:
    weights = load_file(checkpoints["qwen2"] / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].to(torch.int64)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((checkpoints["qwen2"] / "config.json").read_bytes())
    for kind in ("16bit", "int8"):
        with pytest.raises(ModelUnavailable, match=r"holds model\.norm\.weight as I64"):
            load(str(tmp_path), device="cpu", weights=kind)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("gptq", "read by the package gptqmodel, which is not installed"),
        ("compressed-tensors", "pip install compressed-tensors"),
        ("fp8", "run on a GPU only"),
        ("hqq", "quantized with hqq, which is not supported"),
    ],
)
def test_what_reads_quantized_weights_is_named_where_it_is_missing(
    method, sentence, checkpoints, tmp_path
) -> None:
    config = json.loads((checkpoints["qwen2"] / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(
        (checkpoints["qwen2"] / "model.safetensors").read_bytes()
    )
    with pytest.raises(ModelUnavailable, match=sentence):
        load(str(tmp_path), device="cpu")


def test_a_gguf_file_says_what_is_missing(tmp_path, monkeypatch) -> None:
    with pytest.raises(ModelUnavailable, match="There is no file"):
        load(str(tmp_path / "model.gguf"), device="cpu")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ModelUnavailable, match="read by the package gguf, which is not installed"):
        load(str(tmp_path / "model.gguf"), device="cpu")


def test_states_of_other_weights_are_other_states(checkpoints) -> None:
    plain = identity_of(load(str(checkpoints["qwen2"]), device="cpu", weights="16bit"))
    quantized = identity_of(load_int8(checkpoints["qwen2"]))
    assert (plain.quantization, quantized.quantization) == ("", "int8")
    assert plain.model == quantized.model == fingerprint(checkpoints["qwen2"])


def test_auto_quantizes_what_does_not_fit() -> None:
    cpu = torch.device("cpu")
    assert _kind("auto", 1 << 20, cpu) == ""
    assert _kind("auto", 1 << 60, cpu) == "nf4"
    assert _kind("int8", 1 << 20, cpu) == "int8"
    assert _kind("16bit", 1 << 60, cpu) == ""
