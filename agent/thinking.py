"""How hard the model thinks and how warm it is drawn, from reply to reply; it asks nothing itself.

Most steps of a repair need little thought, and a model left to itself may think until no room is
left for an answer. More is given where the last step went wrong. A reply that is nothing but a
thought is no answer: it is asked for again without one.
"""

import re
from dataclasses import replace

from agent.settings import ModelConfig
from inference.messages import BadToolCall, ReplyOptions, SamplingOptions, ToolCall
from tools.base import ToolResult

WINDOW_SHARE = 8
"""One part in so many of the window may go to the thinking of one reply."""
WARM = SamplingOptions(temperature=1.0, top_p=0.95, top_k=20)
"""What the family's general preset draws with: warmer than its preset for code."""
TEST_TOOLS = ("run_tests", "bash", "str_replace_editor", "finish")
"""What may tell of red tests: edits are checked too."""
_RED = re.compile(r"(?m)^(?:FAILED|ERROR) |\b[1-9]\d* failed\b|^Tests failed")


def with_effort(
    options: ReplyOptions, config: ModelConfig, context_tokens: int, has_failed: bool
) -> ReplyOptions:
    """Give a reply its budget of thinking, and room for it beside the answer."""
    if not options.thinking or config.thinking == "off":
        return replace(options, thinking=False)
    is_hard = has_failed or config.thinking == "high"
    wanted = config.thinking_tokens_after_failure if is_hard else config.thinking_tokens
    budget = min(wanted, max(1, context_tokens // WINDOW_SHARE))
    num_new = options.max_new_tokens + budget
    return replace(options, thinking_budget=budget, max_new_tokens=num_new)


def warmer(options: ReplyOptions, number: int) -> ReplyOptions:
    """Draw reply `number` otherwise than those that led nowhere."""
    return replace(options, sampling=replace(WARM, seed=options.seed + number))


def shows_failure(call: ToolCall | BadToolCall, result: ToolResult) -> bool:
    """Say whether a result calls for more thought: it failed, or it tells of red tests."""
    may_test = (
        isinstance(call, ToolCall)
        and call.name in TEST_TOOLS
        and call.arguments.get("command") != "view"
    )
    return not result.ok or (may_test and bool(_RED.search(result.text)))
