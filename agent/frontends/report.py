"""The one document that `fix --json` prints: its schema, in pydantic; it decides nothing.

`python -m agent.frontends.report > docs/fix.schema.json` publishes it. Fields are added, never
renamed or removed, while `schema_version` stays the same.
"""

import json
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.frontends.usage import reuse_sentence
from agent.outcome import FixOutcome, Tests
from inference.messages import Usage


class UsageReport(BaseModel):
    """Tokens and seconds of one reply, or the sum of all."""

    model_config = ConfigDict(frozen=True)

    num_prompt: int = Field(description="Tokens of the conversation when the reply began.")
    num_reused: int = Field(description="Of these, taken from the state or a snapshot.")
    num_prefilled: int = Field(description="Of these, computed: num_prompt - num_reused.")
    num_generated: int = Field(description="Tokens the model wrote.")
    prefill_s: float
    decode_s: float
    num_repeated: int = Field(
        default=0,
        description="Of num_prefilled, those read before where no snapshot was near enough.",
    )
    num_thinking: int = Field(default=0, description="Of num_generated, tokens of thinking.")
    num_drafted: int = Field(default=0, description="Tokens guessed and read with others.")
    num_accepted: int = Field(default=0, description="Of num_drafted, those that came true.")


class ReplyReport(UsageReport):
    """What one reply cost."""

    reuse: str = Field(
        default="", description="What was reused and why not more, for a person to read."
    )


class TestsReport(BaseModel):
    """One run of the tests, by the ids of the project's own runner."""

    __test__ = False  # pytest collects classes that begin with Test
    model_config = ConfigDict(frozen=True)

    num_passed: int
    num_failed: int
    failed: tuple[str, ...] = Field(description="Ids of the red tests, sorted.")


class FixReport(BaseModel):
    """What one run of `qwen-agent fix` did."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    exit_code: int = Field(
        description="0 fixed, 1 internal error, 2 usage, 3 still red, 4 nothing changed, 5 budget "
        "spent, 6 denied or no sandbox, 7 no model, 130 cancelled."
    )
    outcome: str = Field(description="The exit code in one word.")
    sentence: str = Field(description="What happened, for a person.")
    session_id: str = Field(description="Empty if the run ended before it had a session.")
    repository: str
    model: str
    sandbox: str = Field(description="The isolation: `full`, `namespaces`, `landlock` or `direct`.")
    seed: int
    test_command: str
    targets: tuple[str, ...] = Field(description="The red tests that were to become green.")
    tests_before: TestsReport | None
    tests_after: TestsReport | None = Field(
        description="On a clean copy with the patch, the original tests restored over it."
    )
    num_attempts: int
    num_steps: int = Field(description="Replies of the model, all attempts together.")
    num_calls: int
    stop_reason: str | None = Field(description="Why the last turn ended, in ACP's words.")
    usage: UsageReport = Field(description="The sum over all replies.")
    replies: tuple[ReplyReport, ...] = Field(description="One entry for each reply, in order.")
    transcript_tokens: int = Field(description="Length of the last attempt's conversation.")
    duration_s: float
    changed_files: tuple[str, ...]
    patch: str = Field(description="The unified diff; empty if nothing changed.")
    patch_file: str | None = Field(description="Where the patch is kept.")
    applied: bool = Field(description="Whether the files of the repository now have the patch.")
    commit: str = Field(
        default="", description="The id of the commit with the repair; empty if there is none."
    )


def schema_text() -> str:
    """Return the schema as it is published."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**schema, **FixReport.model_json_schema(mode="serialization")}, indent=2)


def report_of(outcome: FixOutcome) -> FixReport:
    """Write the outcome of a run as the document."""
    before = (None, *outcome.usages)
    replies = tuple(map(_reply, outcome.usages, before))
    return FixReport(
        exit_code=outcome.exit_code,
        outcome=outcome.word,
        sentence=outcome.sentence,
        session_id=outcome.session_id,
        repository=outcome.repository,
        model=outcome.model,
        sandbox=outcome.sandbox,
        seed=outcome.seed,
        test_command=outcome.test_command,
        targets=outcome.targets,
        tests_before=_tests(outcome.before),
        tests_after=_tests(outcome.after),
        num_attempts=outcome.num_attempts,
        num_steps=outcome.num_steps,
        num_calls=outcome.num_calls,
        stop_reason=outcome.stop_reason,
        usage=_sum(replies),
        replies=replies,
        transcript_tokens=outcome.transcript_tokens,
        duration_s=round(outcome.duration_s, 3),
        changed_files=outcome.changed_files,
        patch=outcome.patch,
        patch_file=outcome.patch_file,
        applied=outcome.applied,
        commit=outcome.commit,
    )


def _tests(tests: Tests | None) -> TestsReport | None:
    if tests is None:
        return None
    return TestsReport(
        num_passed=tests.num_passed, num_failed=len(tests.failed), failed=tests.failed
    )


def _reply(usage: Usage, before: Usage | None) -> ReplyReport:
    return ReplyReport(**asdict(usage), reuse=reuse_sentence(usage, before))


def _sum(replies: tuple[ReplyReport, ...]) -> UsageReport:
    return UsageReport(
        num_prompt=sum(usage.num_prompt for usage in replies),
        num_reused=sum(usage.num_reused for usage in replies),
        num_prefilled=sum(usage.num_prefilled for usage in replies),
        num_generated=sum(usage.num_generated for usage in replies),
        prefill_s=sum(usage.prefill_s for usage in replies),
        decode_s=sum(usage.decode_s for usage in replies),
        num_repeated=sum(usage.num_repeated for usage in replies),
        num_thinking=sum(usage.num_thinking for usage in replies),
        num_drafted=sum(usage.num_drafted for usage in replies),
        num_accepted=sum(usage.num_accepted for usage in replies),
    )


if __name__ == "__main__":
    print(schema_text())
