"""The list as models really write it, what they are told, and what others see of it."""

import pytest

from tools.errors import ToolFailed
from tools.registry import Registry
from tools.todo import MAX_CHARACTERS, MAX_ITEMS, Item, Todo, as_text

FIND, MEND = Item("find the cause", is_done=True), Item("mend it")


@pytest.mark.parametrize(
    "items",
    [
        ["[x] find the cause", "[ ] mend it"],
        '["[X] find the cause", "[] mend it"]',
        "[x] find the cause\n[ ] mend it\n",
        "- [x] find the cause\n- mend it",
        "1. [x] find the cause\n\n2) mend it",
        ["* [✓] find the cause\n* [ ] mend it"],
    ],
)
def test_a_list_is_read_in_every_form_that_models_write(items: object) -> None:
    todo = Todo()
    assert Registry([todo]).call("todo", {"items": items}).ok
    assert todo.items == (FIND, MEND)
    assert todo.open_items() == ("mend it",)


def test_the_next_step_is_named() -> None:
    todo = Todo()
    result = todo.run({"items": ["[x] a", "[ ] b", "[ ] c"]})
    assert (result.text, result.summary) == ("1 of 3 done. Next: b", "1 of 3 done")
    assert todo.run({"items": ["[x] a", "[x] b", "[x] c"]}).text == (
        "3 of 3 done. Nothing is open."
    )
    assert todo.run({"items": []}).text == "The list is empty."


def test_an_open_step_that_is_left_out_is_told() -> None:
    todo = Todo()
    todo.run({"items": ["a", "b", "[x] c"]})
    assert todo.run({"items": ["[x] a"]}).text == (
        "1 of 1 done. Nothing is open.\nLeft out and not done: b"
    )


def test_each_change_is_seen_once_and_what_is_shown_can_be_read_again() -> None:
    seen: list[tuple[Item, ...]] = []
    todo = Todo(seen.append)
    for _ in range(2):
        todo.run({"items": ["[x] find the cause", "mend it"]})
    assert seen == [(FIND, MEND)]
    assert as_text(todo.items) == "[x] find the cause\n[ ] mend it"
    again = Todo()
    again.run({"items": as_text(todo.items).split("\n")})
    assert again.items == todo.items


@pytest.mark.parametrize(
    "items", [["x"] * (MAX_ITEMS + 1), ["x" * (MAX_CHARACTERS + 1)]], ids=["many", "long"]
)
def test_a_list_without_measure_is_refused_and_the_old_one_stays(items: list[str]) -> None:
    todo = Todo()
    todo.run({"items": ["a"]})
    with pytest.raises(ToolFailed, match=" at most"):
        todo.run({"items": items})
    assert todo.items == (Item("a"),)


def test_no_list_is_a_mistake_that_names_the_form() -> None:
    text = Registry([Todo()]).call("todo", {"items": 3}).text
    assert text == 'items must be a list like ["a", "b"]. Form: todo(items)'
