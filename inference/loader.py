"""A checkpoint folder or a hub id to a `Model` on a device, or one sentence saying why not.

Families: Qwen3.5 to 3.8 (dense and MoE; of checkpoints with vision only the text part), Qwen3
(dense and MoE), Qwen2.5. transformers builds the module; the weights are read here (`packing.py`),
plain or quantized, or by transformers where they are not plain (`foreign.py`). The tokenizer and
the chat template are read elsewhere.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from inference.checkpoint import Checkpoint
from inference.door import (
    SMALL_PARAMS,
    DType,
    KvChoice,
    LoadProgress,
    OnProgress,
    StateKind,
    Weights,
)
from inference.errors import ModelUnavailable, first_line
from inference.fallback import too_large
from inference.foreign import GGUF_SUFFIX, gguf_config, load_foreign
from inference.headers import read_json
from inference.hub import folder_of
from inference.kv_codec import KvKind, has_rotation
from inference.model import Model
from inference.module import Placement, empty_module, fill
from inference.packed_files import weights_folder
from inference.packing import pack, read_plain
from inference.quantize import quantize
from inference.runnable import CONFIG_ERRORS, check_config, check_usable, method_of
from inference.stack import StackFormat
from inference.state import Layout
from inference.watchdog import is_out_of_memory
from inference.weight_cache import kept, packed_file

MEMORY_SHARE = 0.7
"""Of a device's memory: what weights may take before auto quantizes them."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""By the names that settings have for them."""


@dataclass(frozen=True)
class Loaded:
    """A model, the folder that it came from, and that folder's config.json."""

    model: Model
    folder: Path
    config: Mapping[str, Any]


@dataclass(frozen=True)
class _Filled:
    """transformers' module with its weights, and what it was made of."""

    module: PreTrainedModel
    folder: Path
    config: Mapping[str, Any]
    quantization: str
    """What its weights are kept in; "" where they are as they were."""


def load(
    where: str,
    *,
    device: str = "auto",
    dtype: DType = "auto",
    weights: Weights = "auto",
    kv: KvChoice = "auto",
    state: StateKind = "float32",
    fast_kernels: bool = True,
    placement: Placement = Placement(),  # noqa: B008  # frozen
    on_progress: OnProgress | None = None,
) -> Loaded:
    """Load the text part of a checkpoint.

    Args:
        where: a folder, a GGUF file, or a hub id `owner/name`, which is downloaded once.
        device: as torch names it; auto is CUDA when there is one.
        dtype: of what is computed; auto is bfloat16 where it is fast, otherwise float32; small
            models on a CPU stay float32.
        weights: what they are kept in; auto is 16 bit where they fit, else nf4.
        kv: how keys and values are kept; auto is int8 on a GPU, and as they are on a CPU.
        state: what recurrent states are between two forwards.
        fast_kernels: False computes everything in the plainest way, for comparison.
        placement: what of quantized weights lives off the device.
        on_progress: told of the download and of what is read.

    Raises:
        ModelUnavailable: not found, offline, damaged, incomplete, or of a family not known here.
    """
    on_progress = on_progress or _ignore
    home = _device(device)
    if where.endswith(GGUF_SUFFIX):
        filled = _fill_from_gguf(Path(where).expanduser(), home, dtype)
    else:
        folder = folder_of(where, on_progress)
        filled = _fill_from_folder(folder, home, dtype, weights, placement, on_progress)
    layout = Layout.of(filled.module.config.get_text_config(decoder=True))
    model = Model(
        filled.module,
        recurrent_dtype=DTYPES[state],
        kv=_kv_kind(kv, home, layout.head_dim),
        quantization=filled.quantization,
        fast_kernels=fast_kernels,
    )
    return Loaded(model, filled.folder, filled.config)


def _fill_from_folder(
    folder: Path,
    device: torch.device,
    name: DType,
    weights: Weights,
    placement: Placement,
    on_progress: OnProgress,
) -> _Filled:
    """Read the weights of a checkpoint, plain, quantized here, or as its makers quantized them."""
    config = read_json(folder / "config.json")
    check_config(config, folder / "config.json")
    checkpoint = Checkpoint(folder)
    text_config = _text_config(folder, checkpoint.entries)
    num_params = sum(math.prod(entry.shape) for entry in checkpoint.entries.values())
    dtype = _dtype(name, device, num_params)
    method = method_of(config)
    kind = _kind(weights, num_params * dtype.itemsize, device)
    try:
        if method:
            check_usable(method, has_gpu=device.type != "cpu")
            module = load_foreign(folder, text_config, device, dtype)
        elif kind:
            module = _empty_module(text_config, dtype, folder)
            load_packed(module, checkpoint, kind, device, placement, on_progress)
        else:
            module = _empty_module(text_config, dtype, folder)
            fill(module, read_plain(module, checkpoint, dtype, device, on_progress), device)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        is_least = bool(method) or (bool(kind) and weights == "auto")
        raise _no_room(folder, device, kind or "16bit", is_least) from error
    return _Filled(module, folder, config, method or kind)


def _no_room(
    folder: Path, device: torch.device, weights: Weights, is_least: bool
) -> ModelUnavailable:
    """Say that a model does not fit; `is_least` is whether no other settings would help."""
    where = f"the memory of {_owner(device)}"
    if is_least:
        way = "choose a smaller model; `qwen-agent plan` says which fit"
        return ModelUnavailable(f"{folder} does not fit into {where}; {way}.")
    return too_large(str(folder), weights, where)


def _fill_from_gguf(file: Path, device: torch.device, name: DType) -> _Filled:
    """Read the weights of a GGUF file, which become plain ones."""
    if not file.is_file():
        raise ModelUnavailable(f"There is no file {file}; give a GGUF file or a folder.")
    check_usable("gguf", has_gpu=device.type != "cpu")
    config = gguf_config(file)
    check_config(config.to_dict(), file)
    # Four bits a number, about: all that this decides is whether the model is a small one.
    dtype = _dtype(name, device, 2 * file.stat().st_size)
    module = load_foreign(file.parent, config, device, dtype, file.name)
    return _Filled(module, file.parent, config.to_dict(), "gguf")


def load_packed(
    module: PreTrainedModel,
    checkpoint: Checkpoint,
    kind: StackFormat,
    device: torch.device,
    placement: Placement = Placement(),  # noqa: B008  # frozen
    on_progress: OnProgress = lambda _seen: None,
) -> None:
    """Quantize an empty module and fill it, from the file of an earlier time where there is one.

    Raises:
        ModelUnavailable: the checkpoint lacks something, or there is no room for the file.
    """
    dtype = module.dtype
    quantize(module, kind)
    file = packed_file(checkpoint.folder, kind, weights_folder())
    stored = kept(
        file, checkpoint.folder, lambda path: pack(module, checkpoint, path, device, on_progress)
    )
    plain = {name for name, _ in module.named_parameters()}
    tensors = {
        name: tensor.to(placement.device_of(name, device), dtype if name in plain else tensor.dtype)
        for name, tensor in stored.items()
    }
    fill(module, tensors, device)


def _kind(weights: Weights, num_bytes: int, device: torch.device) -> StackFormat | Literal[""]:
    """Return what weights that are `num_bytes` otherwise are quantized to; "": they are not."""
    if weights != "auto":
        return "" if weights == "16bit" else weights
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "nf4" if num_bytes > MEMORY_SHARE * memory else ""


def _ignore(_progress: LoadProgress) -> None:
    pass


def _text_config(folder: Path, names: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the configuration of the text part, if its layers are of kinds that we can hold."""
    with _sense_of(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        text_config: PreTrainedConfig = config.get_text_config(decoder=True)
        Layout.of(text_config)
    # With vision, some checkpoints say only in the outer part that both ends share one matrix.
    if getattr(config, "tie_word_embeddings", False) and "lm_head.weight" not in names:
        text_config.tie_word_embeddings = True
    return text_config


def _empty_module(config: PreTrainedConfig, dtype: torch.dtype, folder: Path) -> PreTrainedModel:
    with _sense_of(folder):
        return empty_module(config, dtype)


@contextmanager
def _sense_of(folder: Path) -> Iterator[None]:
    """While something is made of a configuration: where it makes no sense, one sentence says so."""
    try:
        yield
    except (*CONFIG_ERRORS, StrictDataclassError) as error:
        raise ModelUnavailable(
            f"{folder / 'config.json'} cannot be used ({first_line(error)}); "
            "download it again or take another model."
        ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelUnavailable(f"{name!r} is no device; use cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable("There is no CUDA device; use cpu, or install torch with CUDA.")
    return device


def _owner(device: torch.device) -> str:
    """Say whose memory a device computes in."""
    return "this machine" if device.type == "cpu" else "the GPU"


def _dtype(name: DType, device: torch.device, num_params: int) -> torch.dtype:
    if name != "auto":
        return DTYPES[name]
    if device.type != "cpu":
        return torch.bfloat16
    return cpu_dtype(num_params)


def cpu_dtype(num_params: int) -> torch.dtype:
    """Return what is fast on this CPU; small models are exact there as well."""
    return torch.bfloat16 if num_params >= SMALL_PARAMS and _cpu_has_bfloat16() else torch.float32


def _kv_kind(choice: KvChoice, device: torch.device, head_dim: int) -> KvKind:
    if choice == "auto":
        return "16bit" if device.type == "cpu" else "int8"
    if choice == "int4" and not has_rotation(head_dim):
        raise ModelUnavailable(
            f"The heads of this model hold {head_dim} numbers, and int4 needs a power of two; "
            "keep keys and values as int8."
        )
    return choice


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself, instead of converting back and forth."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
