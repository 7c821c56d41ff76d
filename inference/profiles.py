"""What differs between the model families: how their conversations are written and sampled.

A profile is plain data. It holds no token id (the tokenizer has those) and no shape of a model
(config.json has those). The families are told apart by `model_type`, and within Qwen3.5-3.8,
which share one, by the gate in the checkpoint's own chat template that decides which thinking
stays in the history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from inference.errors import ModelUnavailable
from inference.headers import read_json
from inference.messages import SamplingOptions

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
TEXT_END = "<|endoftext|>"
THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"
RESULT_OPEN = "<tool_response>"
RESULT_CLOSE = "</tool_response>"
PICTURE_OPEN = "<|vision_start|>"
PICTURE_CLOSE = "<|vision_end|>"

TAGS = (
    TURN_START,
    TURN_END,
    TEXT_END,
    THINK_OPEN,
    THINK_CLOSE,
    CALL_OPEN,
    CALL_CLOSE,
    RESULT_OPEN,
    RESULT_CLOSE,
    PICTURE_OPEN,
    PICTURE_CLOSE,
)
"""Every string that the templates write as one token where the vocabulary has it."""

CallSyntax = Literal["xml", "hermes"]

PRECISE = SamplingOptions(temperature=0.6, top_p=0.95, top_k=20)
WIDE = SamplingOptions(temperature=1.0, top_p=0.95, top_k=20)
INSTRUCT = SamplingOptions(temperature=0.7, top_p=0.8, top_k=20)
GREEDY = SamplingOptions()


@dataclass(frozen=True)
class Profile:
    """How one family writes a conversation, and how it is best sampled."""

    name: str
    call_syntax: CallSyntax
    """`xml`: <function=..><parameter=..>; `hermes`: one JSON object. Both inside <tool_call>."""
    opener_thinking: str
    """What the prompt puts after `assistant\\n` when the model is to think."""
    opener_plain: str
    """The same when it is not to think: an empty thought, already closed."""
    writes_empty_thought: bool
    """Whether a reply without thinking carries an empty <think> block in the history."""
    trims: bool
    """Whether the template strips blanks around every content."""
    sampling_thinking: SamplingOptions
    sampling_plain: SamplingOptions
    json_scalars: bool = True
    """Whether true is written `true` in a call, not `True`."""
    can_think: bool = True
    lists_tools: bool = True
    """False: the model was trained on one frozen tool list, which the prompt does not spell out."""
    stop_tokens: tuple[str, ...] = (TURN_END, TEXT_END)
    template_differs: str = ""
    """Where the checkpoint's own template, rendered whole, departs from our appended deltas."""

    def opener(self, thinking: bool) -> str:
        """Return the text that the prompt puts after `assistant\\n`."""
        return self.opener_thinking if thinking and self.can_think else self.opener_plain

    def sampling(self, thinking: bool) -> SamplingOptions:
        """Return the preset of the family."""
        return self.sampling_thinking if thinking and self.can_think else self.sampling_plain


QWEN3_5 = Profile(
    name="qwen3.5",
    call_syntax="xml",
    opener_thinking=f"{THINK_OPEN}\n",
    opener_plain=f"{THINK_OPEN}\n\n{THINK_CLOSE}\n\n",
    writes_empty_thought=True,
    trims=True,
    sampling_thinking=PRECISE,
    sampling_plain=INSTRUCT,
    json_scalars=False,
    template_differs="drops the thinking of all replies before the last real user message",
)
QWEN3_6 = replace(
    QWEN3_5,
    name="qwen3.6",
    json_scalars=True,
    template_differs="drops thinking as 3.5 does, unless preserve_thinking is true",
)
QWEN3_8 = replace(
    QWEN3_6,
    name="qwen3.8",
    sampling_thinking=WIDE,
    template_differs="puts a sentence about effort first unless reasoning_effort is medium",
)
QWEN3 = Profile(
    name="qwen3",
    call_syntax="hermes",
    opener_thinking="",
    opener_plain=f"{THINK_OPEN}\n\n{THINK_CLOSE}\n\n",
    writes_empty_thought=False,
    trims=False,
    sampling_thinking=PRECISE,
    sampling_plain=INSTRUCT,
    template_differs="drops the thinking of all replies before the last real user message, and "
    "writes an empty thought in the last reply only",
)
QWEN2_5 = Profile(
    name="qwen2.5",
    call_syntax="hermes",
    opener_thinking="",
    opener_plain="",
    writes_empty_thought=False,
    trims=False,
    sampling_thinking=INSTRUCT,
    sampling_plain=INSTRUCT,
    can_think=False,
    template_differs="",
)
NANO = replace(
    QWEN3_8,
    name="nano",
    sampling_thinking=GREEDY,
    sampling_plain=GREEDY,
    can_think=False,
    lists_tools=False,
    template_differs="",
)

PROFILES = {p.name: p for p in (QWEN3_5, QWEN3_6, QWEN3_8, QWEN3, QWEN2_5, NANO)}

_MODEL_TYPES = {
    "qwen3_5": QWEN3_5,
    "qwen3_5_text": QWEN3_5,
    "qwen3_5_moe": QWEN3_5,
    "qwen3_5_moe_text": QWEN3_5,
    "qwen3": QWEN3,
    "qwen3_moe": QWEN3,
    "qwen2": QWEN2_5,
}


def profile_for(config: Mapping[str, Any], folder: Path | None) -> Profile:
    """Choose the profile of a checkpoint from its config.json and the files beside it.

    Raises:
        ModelUnavailable: a family we do not know, or a file that cannot be read.
    """
    if folder is not None and (folder / "profile.json").is_file():
        return _named_profile(folder / "profile.json")
    model_type = config.get("model_type")
    profile = _MODEL_TYPES.get(str(model_type))
    if profile is None:
        raise ModelUnavailable(
            f"model_type {model_type!r} is not a family we can run; supported are Qwen3.5, 3.6 "
            f"and 3.8 (qwen3_5, qwen3_5_moe), Qwen3 (qwen3, qwen3_moe) and Qwen2.5 (qwen2)."
        )
    template = "" if folder is None else read_chat_template(folder)
    return _variant(profile, template)


def _named_profile(file: Path) -> Profile:
    """Read `{"profile": NAME}`."""
    named = read_json(file)
    name = named.get("profile")
    if name not in PROFILES:
        raise ModelUnavailable(f"{file} names the profile {name!r}; known: {', '.join(PROFILES)}.")
    return PROFILES[name]


def _variant(profile: Profile, template: str) -> Profile:
    """Tell apart the releases that share a model_type by what their template says."""
    if profile is QWEN3_5:
        if "preserve_thinking is undefined" in template:
            return QWEN3_8
        return QWEN3_6 if "preserve_thinking" in template else QWEN3_5
    if profile is QWEN3 and template and "enable_thinking" not in template:
        # The 2507 releases are two models: one always thinks, one never does.
        if f"assistant\\n{THINK_OPEN}\\n" in template:
            opened = f"{THINK_OPEN}\n"
            return replace(QWEN3, opener_thinking=opened, opener_plain=opened)
        return replace(QWEN3, opener_plain="", can_think=False)
    return profile


def read_chat_template(folder: Path) -> str:
    """Return the checkpoint's own chat template, or "" when it brings none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return ""
    template = read_json(file).get("chat_template", "")
    if isinstance(template, list):  # several, by name
        template = next((t["template"] for t in template if t.get("name") == "default"), "")
    return str(template)
