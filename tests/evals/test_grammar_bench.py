"""The benchmark of the grammar at a small size: calls of a random model, read by its own parser."""

import json
from argparse import ArgumentParser

import pytest
import torch

from evals.bench import grammar
from inference.messages import ToolSpec

COUNT = ToolSpec(
    "count",
    "",
    {
        "type": "object",
        "properties": {"word": {"type": "string"}, "number": {"type": "integer"}},
        "required": ["number"],
        "additionalProperties": False,
    },
)


@pytest.mark.slow
def test_a_few_calls_are_written_and_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"MAX_SOURCE_BYTES": 2_000_000, "NUM_TOKENS": 2, "MAX_MASKS": 100}.items():
        monkeypatch.setattr(grammar, name, value)
    parser = ArgumentParser()
    grammar.add_arguments(parser)
    words = ["--shape", "tiny", "--calls", "3", "--vocabulary", "2000", "--threads", "1"]
    assert grammar.run(parser.parse_args(words)) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["beside"]["calls"], report["beside"]["malformed"]) == (3, 0)
    assert {figure["name"] for figure in report["figures"]} >= {"mask", "decode with masks"}


def test_the_parser_of_the_benchmark_forgives_nothing() -> None:
    def fault(parameters: str, name: str = "count") -> str:
        return grammar.read_strictly(f"\n<function={name}>\n{parameters}</function>\n", [COUNT])

    def parameter(name: str, text: str) -> str:
        return f"<parameter={name}>\n{text}\n</parameter>\n"

    number = parameter("number", "7")
    assert fault(number) == ""
    assert fault(parameter("word", "7 > 6\n") + number) == ""
    for wrong in ("", number + number, parameter("number", "x"), parameter("number", '"7"')):
        assert fault(wrong) != ""
    assert fault(number + parameter("other", "1")) != ""
    assert fault(number, name="add") == "no call of a tool"


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999999])
def test_a_forbidden_token_is_never_drawn(place: float) -> None:
    class Luck(grammar.random.Random):
        def random(self) -> float:
            return place

    logits = torch.tensor([-torch.inf, 1.0, -torch.inf, -torch.inf, 2.0, -torch.inf])
    assert grammar._drawn(logits, Luck()) in (1, 4)
