"""A checkpoint folder or a hub id to a `Model` on a device, or one sentence saying why not.

Families: Qwen3.5 to 3.8 (dense and MoE; of checkpoints with vision only the text part), Qwen3
(dense and MoE), Qwen2.5. transformers builds the module and converts names; what is checked here
is that every weight was really there: it would fill what is missing with random numbers. The
tokenizer and the chat template are read elsewhere.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: the hub's client's
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from huggingface_hub.utils.tqdm import tqdm
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from inference.door import DType, KvChoice, LoadProgress, OnProgress
from inference.errors import ModelUnavailable
from inference.kv_codec import KvKind, has_rotation
from inference.model import Model
from inference.state import Layout

FAMILIES = {
    "qwen3_5": "Qwen3.5",
    "qwen3_5_text": "Qwen3.5",
    "qwen3_5_moe": "Qwen3.5 MoE",
    "qwen3_5_moe_text": "Qwen3.5 MoE",
    "qwen3": "Qwen3",
    "qwen3_moe": "Qwen3 MoE",
    "qwen2": "Qwen2.5",
}
"""`model_type` of config.json, and what people call it."""

PATTERNS = ["*.safetensors", "*.json", "*.jinja"]
"""What is downloaded; a repository may hold the same weights in three more forms."""

SMALL_PARAMS = 100_000_000
"""Below this float32 on a CPU is as fast as bfloat16, and exact."""

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
MAX_HEADER_BYTES = 100_000_000  # the format's own limit

CONFIG_ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError)
"""What transformers raises on a config.json that makes no sense."""


@dataclass(frozen=True)
class Loaded:
    """A model, the folder that it came from, and that folder's config.json."""

    model: Model
    folder: Path
    config: Mapping[str, Any]


def load(
    where: str,
    *,
    device: str = "auto",
    dtype: DType = "auto",
    kv: KvChoice = "auto",
    on_progress: OnProgress | None = None,
) -> Loaded:
    """Load the text part of a checkpoint.

    Args:
        where: a folder, or a hub id `owner/name`, which is downloaded once.
        device: as torch names it; auto is CUDA when there is one.
        dtype: auto is bfloat16 where it is fast, otherwise float32; small models on a CPU stay
        float32.
        kv: how keys and values are kept; auto is int8 on a GPU, and as they are on a CPU.
        on_progress: told of the download.

    Raises:
        ModelUnavailable: not found, offline, damaged, incomplete, or of a family not known here.
    """
    folder = _folder(where, on_progress)
    config = _read_json(folder / "config.json")
    if config.get("model_type") not in FAMILIES:
        raise ModelUnavailable(
            f"{folder / 'config.json'} is of type {config.get('model_type')!r}, which is not "
            f"supported; use a model of {', '.join(dict.fromkeys(FAMILIES.values()))}."
        )
    shapes = {name: shape for file in _shards(folder) for name, shape in _read_header(file).items()}
    text_config = _text_config(folder, shapes)
    torch_device = _device(device)
    num_params = sum(math.prod(shape) for shape in shapes.values())
    torch_dtype = _dtype(dtype, torch_device, num_params)
    kind = _kv_kind(kv, torch_device, Layout.of(text_config).head_dim)
    module = _module(folder, text_config, torch_device, torch_dtype)
    return Loaded(Model(module, kv=kind), folder, config)


def _folder(where: str, on_progress: OnProgress | None) -> Path:
    """Return the folder itself, or the one that a hub id was downloaded to."""
    folder = Path(where).expanduser()
    if where.strip() and folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(where):
        raise ModelUnavailable(
            f"{where} is neither a folder nor a hub id; give a checkpoint's folder or owner/name."
        )
    try:
        return Path(
            snapshot_download(
                where, allow_patterns=PATTERNS, tqdm_class=_progress_bar(on_progress or _ignore)
            )
        )
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            f"{where} is no folder here and cannot be downloaded: the hub is not reached, or "
            "HF_HUB_OFFLINE is set; go online once, or give the folder of a checkpoint."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelUnavailable(
            f"{where} is no folder here and the hub does not give it out: check the name, or run "
            "`hf auth login` if it is private or gated."
        ) from error
    except (OSError, HTTPError) as error:
        raise ModelUnavailable(
            f"The download of {where} broke off ({_first_line(error)}); "
            "run the same again, it goes on from there."
        ) from error


def _ignore(_progress: LoadProgress) -> None:
    pass


def _progress_bar(on_progress: OnProgress) -> type[Any]:
    """Make a bar that draws nothing; the one that counts bytes reports them."""

    class Reporter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self.counts_bytes:
                on_progress(LoadProgress(int(self.n), int(self.total or self.n)))
            return None

    return Reporter


def _read_json(file: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnavailable(
            f"{file.parent} has no {file.name}; give the folder of a checkpoint."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{file} cannot be read ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise ModelUnavailable(f"{file} holds no JSON object; download it again.")
    return content


def _shards(folder: Path) -> list[Path]:
    """Return the weight files, all of which are there."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        file = folder / "model.safetensors"
        if not file.exists():
            raise ModelUnavailable(
                f"{folder} has no model.safetensors; give a folder with *.safetensors weights."
            )
        return [file]
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelUnavailable(f"{index} lists no weights; download it again.")
    shards = [folder / str(name) for name in sorted(set(weight_map.values()))]
    missing = [shard.name for shard in shards if not shard.exists()]
    if missing:
        raise ModelUnavailable(
            f"{folder} lacks {missing[0]} ({len(missing)} of {len(shards)} weight files are "
            "missing); download the rest."
        )
    return shards


def _read_header(file: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor in a safetensors file, whose size must be what they need."""
    try:
        with file.open("rb") as stream:
            num_header_bytes = int.from_bytes(stream.read(8), "little")
            if num_header_bytes > MAX_HEADER_BYTES:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(stream.read(num_header_bytes))
            header.pop("__metadata__", None)
            num_data_bytes = max((entry["data_offsets"][1] for entry in header.values()), default=0)
            shapes = {name: list(entry["shape"]) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelUnavailable(f"{file} is damaged ({error}); download it again.") from error
    expected, actual = 8 + num_header_bytes + num_data_bytes, file.stat().st_size
    if actual != expected:
        raise ModelUnavailable(
            f"{file} is {actual:,} bytes where its header says {expected:,}; download it again."
        )
    return shapes


def _text_config(folder: Path, names: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the configuration of the text part, if its layers are of kinds that we can hold."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        text_config: PreTrainedConfig = config.get_text_config(decoder=True)
        Layout.of(text_config)
    except (*CONFIG_ERRORS, StrictDataclassError) as error:
        reason = _first_line(error)
        raise ModelUnavailable(
            f"{folder / 'config.json'} cannot be used ({reason}); "
            "download it again or take another model."
        ) from error
    # With vision, some checkpoints say only in the outer part that both ends share one matrix.
    if getattr(config, "tie_word_embeddings", False) and "lm_head.weight" not in names:
        text_config.tie_word_embeddings = True
    return text_config


def _module(
    folder: Path, config: PreTrainedConfig, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """Let transformers build the module, and see that no weight was made up."""
    try:
        # It would draw bars and, at the first forward, warn of slow kernels: not its screen.
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map={"": device} if device.type != "cpu" else None,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused below
        )
    except torch.OutOfMemoryError as error:
        raise ModelUnavailable(
            f"{folder} does not fit the memory of {device}; take a smaller model."
        ) from error
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelUnavailable(f"{folder} cannot be loaded: {_first_line(error)}.") from error
    module, report = loaded
    wrong = [str(entry[0]) for entry in report["mismatched_keys"]]
    missing = [*report["missing_keys"], *_failed(report)]
    for names, what in ((wrong, "a wrong shape"), (missing, "no value")):
        if names:
            raise ModelUnavailable(
                f"{folder} has {what} for {sorted(names)[0]} ({len(names)} in all); "
                "its weights do not belong to its config.json, download both again."
            )
    return module  # type: ignore[no-any-return]


def _failed(report: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(message) for message in report.get("error_msgs", ()))


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


def _dtype(name: DType, device: torch.device, num_params: int) -> torch.dtype:
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
            name
        ]
    if device.type != "cpu":
        return torch.bfloat16
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


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rstrip(".:")
