"""The editor as a run lays it out: nano in the words it knows, other models with all of it."""

from pathlib import Path

import pytest

from agent.fix import run_fix
from agent.models import NANO
from agent.request import FixRequest
from tests.agent.fakes import FINISH, RUN_TESTS, Say, ScriptedModel, call, make_repository
from tools.editor_forms import FOR_NANO, FULL, Form

VIEW = Say((call("str_replace_editor", command="view", path="shop/cart.py"),))
SCRIPT = [RUN_TESTS, VIEW, VIEW, FINISH]


@pytest.mark.parametrize(
    ("name", "form", "second"),
    [
        (NANO, FOR_NANO, None),
        ("another", FULL, "Unchanged since step 2: lines 1-9 of shop/cart.py are as shown there."),
    ],
)
def test_a_second_look_and_the_schema_are_those_of_the_model(
    tmp_path: Path, name: str, form: Form, second: str | None
) -> None:
    model = ScriptedModel([SCRIPT], name)
    request = FixRequest(make_repository(tmp_path / "repo"))
    for _ in run_fix(request, lambda: False, lambda _: model, tmp_path / "state"):
        pass
    (spec,) = [spec for spec in model.specs if spec.name == "str_replace_editor"]
    assert (spec.description, spec.parameters) == (form.description, form.parameters)
    _, first, again, *_ = [message.content for message in model.seen[-1] if message.role == "tool"]
    assert again == (first if second is None else second)
