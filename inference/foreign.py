"""Checkpoints that are not plain weights, as far as transformers reads them.

Quantized by their makers (bitsandbytes, GPTQ, AWQ, FP8, compressed-tensors) or in GGUF, whose
weights become plain ones. Nothing of ours is done to the numbers; what is looked after is that all
weights were there. Which of them can be read here is `runnable.py`.
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from inference.errors import ModelUnavailable, TooLarge, first_line
from inference.runnable import CONFIG_ERRORS

GGUF_SUFFIX = ".gguf"


def gguf_config(file: Path) -> PreTrainedConfig:
    """Return the configuration that a GGUF file holds.

    Raises:
        ModelUnavailable: it holds none that transformers can read.
    """
    try:
        _quiet()
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True
        )
    except (*CONFIG_ERRORS, ImportError, struct.error) as error:
        raise ModelUnavailable(
            f"{file} cannot be read ({first_line(error)}); download it again, or take a checkpoint "
            "in safetensors."
        ) from error
    return config


def load_foreign(
    folder: Path,
    config: PreTrainedConfig,
    device: torch.device,
    dtype: torch.dtype,
    gguf_file: str | None = None,
) -> PreTrainedModel:
    """Let transformers build the module, and see that no weight was made up.

    Raises:
        ModelUnavailable: it cannot be built, or a weight is missing.
    """
    options = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        _quiet()
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map={"": device},
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused below
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise TooLarge(
            f"{folder} does not fit the memory of {device}; take a smaller model."
        ) from error
    except (*CONFIG_ERRORS, ImportError, SafetensorError) as error:
        raise ModelUnavailable(f"{folder} cannot be loaded: {first_line(error)}.") from error
    module: PreTrainedModel = loaded[0]
    report: Mapping[str, Any] = loaded[1]
    wrong = [str(entry[0]) for entry in report["mismatched_keys"]]
    missing = [*report["missing_keys"], *_failed(report)]
    for names, what in ((wrong, "a wrong shape"), (missing, "no value")):
        if names:
            raise ModelUnavailable(
                f"{folder} has {what} for {sorted(names)[0]} ({len(names)} in all); "
                "its weights do not belong to its config.json, download both again."
            )
    return module


def _quiet() -> None:
    """Keep libraries from drawing bars and warning of slow kernels: it is not their screen."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _failed(report: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(message) for message in report.get("error_msgs", ()))
