"""Calls that models got wrong: what is read all the same, and what is refused, and why.

A backslash before a `<` in these replies marks a tag that is spelled in letters, not one token.
"""

from typing import Any

from inference.messages import BadToolCall, Text, Thinking, ToolCall
from inference.parser import ReplyPiece
from tests.inference.replies import pair, xml

AB = {"path": "a", "new": " b"}
B = {"new": " b"}
DEMO = xml(pair("path", "x"), name="demo")

READABLE: list[tuple[str, str, dict[str, Any]]] = [
    ("no arguments", "<tool_call>\n<function=edit>\n</function>\n</tool_call>", {}),
    ("self-closing", "<tool_call>\n<function=edit/>\n</tool_call>", {}),
    ("self-closing, one space", "<tool_call><function=edit /></tool_call>", {}),
    ("self-closing parameter", xml().replace("</f", "<parameter=old/>\n</f"), {"old": ""}),
    ("empty tag that is no string", xml("line>", "path>\na"), {"path": "a"}),
    ("empty string", xml("old>", "path>\na"), {"old": "", "path": "a"}),
    ("all on one line", xml("path>a.py", "line>3").replace("\n", ""), {"path": "a.py", "line": 3}),
    ("names in attributes", xml("path>\na").replace("=", " name="), {"path": "a"}),
    ("quoted names", xml('"path">\na', name='"edit"'), {"path": "a"}),
    ("blank lines between", xml("path>\na").replace(">\n<", ">\n\n  <"), {"path": "a"}),
    (
        "no </function>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</tool_call>",
        {"path": "a"},
    ),
    (
        "no </tool_call>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>",
        {"path": "a"},
    ),
    (
        "nothing closed",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n<|im_end|>",
        {"path": "a"},
    ),
    (
        "a closing tag begun",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</para<|im_end|>",
        {"path": "a"},
    ),
    (
        "no last </parameter>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</function>\n</tool_call>",
        {"path": "a"},
    ),
    (
        "no last </parameter>, no </function>",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</tool_call><|im_end|>",
        {"path": "a"},
    ),
    (
        "no </parameter> in the middle",
        xml("path>\na", "new>\nb").replace("\n</parameter>", "", 1),
        {"path": "a", "new": "b"},
    ),
    (
        "no </parameter> before one that is no string",
        xml("path>\na", "line>\n3").replace("\n</parameter>", "", 1),
        {"path": "a", "line": 3},
    ),
    ("all </parameter> lost", xml("path>\na", "new>\n b").replace("\n</parameter>", ""), AB),
    (
        "a </parameter without its >",
        xml("new>\n b").replace("parameter>\n</f", "parameter\n</f"),
        B,
    ),
    (
        "a </parameter without its > in the middle",
        xml("path>\na", "new>\n b").replace("</parameter>", "</parameter", 1),
        AB,
    ),
    (
        "cut arguments that end in </parameter",
        "<tool_call>\n<function=edit>\n<parameter=new>\n b\n</parameter<|im_end|>",
        B,
    ),
    ("</function> twice", xml("new>\n b").replace("</fu", "</function>\n</fu"), B),
    (
        "JSON in the function",
        '<tool_call>\n<function=edit>\n{"path": "a", "line": 3}\n</function>\n</tool_call>',
        {"path": "a", "line": 3},
    ),
    (
        "JSON in the function, no </function>",
        '<tool_call>\n<function=edit>\n{"new": " b"}\n</tool_call>',
        B,
    ),
    ("JSON in the function, empty", "<tool_call><function=edit>{}</function></tool_call>", {}),
    (
        "JSON strings for numbers",
        '<tool_call>{"name": "edit", "arguments": {"line": "3", "all": ""}}</tool_call>',
        {"line": 3},
    ),
    (
        "JSON objects for strings",
        '<tool_call>{"name": "edit", "arguments": {"new": {"k": 1}, "old": null}}</tool_call>',
        {"new": '{"k": 1}'},
    ),
    (
        "Hermes JSON",
        '<tool_call>\n{"name": "edit", "arguments": {"old": "  x\\n", "range": [1]}}\n</tool_call>',
        {"old": "  x\n", "range": [1]},
    ),
    (
        "Hermes, arguments as a JSON string",
        '<tool_call>{"name": "edit", "arguments": "{\\"line\\": 1}"}</tool_call>',
        {"line": 1},
    ),
    ("Hermes, no arguments", '<tool_call>{"name": "edit"}</tool_call>', {}),
    ("Hermes, {} for arguments", '<tool_call>{"name": "edit", "arguments": {}}</tool_call>', {}),
    ("Hermes, null arguments", '<tool_call>{"name": "edit", "arguments": null}</tool_call>', {}),
    (
        "Hermes, a brace lost",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"}</tool_call>',
        {"path": "a"},
    ),
    (
        "Hermes, a brace too many",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"}}}</tool_call>',
        {"path": "a"},
    ),
    (
        "Hermes, a newline in a string",
        '<tool_call>{"name": "edit", "arguments": {"old": "a\nb"}}</tool_call>',
        {"old": "a\nb"},
    ),
    (
        "a value that shows a call",
        xml(f"new>\nSee:\n{DEMO}\nend"),
        {"new": f"See:\n{DEMO}\nend"},
    ),
    (
        "a value that shows two parameters",
        xml("new>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n</parameter>", "path>\na"),
        {
            "new": "<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n</parameter>",
            "path": "a",
        },
    ),
    (
        "a value that has the line of a parameter given later",
        xml("new>\nx\n<parameter=path>\ny", "path>\na"),
        {"new": "x\n<parameter=path>\ny", "path": "a"},
    ),
    (
        "a value that names a closing tag",
        xml("new>\ntags = '</tool_call>'\nend", "path>\na"),
        {"new": "tags = '</tool_call>'\nend", "path": "a"},
    ),
]

UNREADABLE: list[tuple[str, str, str]] = [
    ("empty", "<tool_call></tool_call>", "names no function"),
    ("prose", "<tool_call>\nrun the tests\n</tool_call>", "names no function"),
    ("no name", "<tool_call>\n<function=>\n</function>\n</tool_call>", "names no function"),
    ("not a number", xml("line>\ntwelve"), "line of edit must be an integer"),
    ("a fraction", xml("line>\n1.5"), "line of edit must be an integer"),
    ("a boolean for a number", xml("line>\ntrue"), "must be an integer"),
    ("a number for an array", xml("range>\n3"), "range of edit must be an array"),
    ("two numbers", xml("range>\n1, 20"), 'such as ["a", "b"], not \'1, 20\''),
    ("a number for a boolean", xml("all>\n1"), "all of edit must be true or false, not '1'"),
    ("twice", xml("path>\na", "path>\nb"), "path of edit is given twice"),
    ("stray text", xml("path>\na").replace("</fun", "oops\n</fun"), "of path comes text"),
    ("text first", xml().replace("</fun", "oops\n</fun"), "'oops"),
    ("broken JSON", '<tool_call>{"name": "edit", "arguments": {,}}</tool_call>', "not valid JSON"),
    ("JSON, no good name", '<tool_call>{"name": "e\\nd"}</tool_call>', 'has no "name"'),
    ("JSON, no name", '<tool_call>{"arguments": {}}</tool_call>', 'has no "name"'),
    (
        "JSON, listed arguments",
        '<tool_call>{"name": "edit", "arguments": [1]}</tool_call>',
        "must be a JSON object",
    ),
    (
        "broken JSON in the function",
        '<tool_call><function=edit>{"path": }</function></tool_call>',
        "The body of edit is not valid JSON",
    ),
    ("JSON that is an unfinished list", '<tool_call>{"name": "edit", [</tool_call>', "not valid"),
    (
        "cut in a value",
        "<tool_call>\n<function=edit>\n<parameter=new>\nhalf of a fi",
        "cut off inside parameter new",
    ),
    (
        "cut between parameters",
        "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n",
        "cut off inside a call",
    ),
    (
        "cut in JSON",
        '<tool_call>{"name": "edit", "arguments": {"path": "a"',
        "cut off inside a call",
    ),
    ("cut at once", "<tool_call>", "cut off inside a call"),
    (
        "a value without an end, then words",
        "<tool_call>\n<function=edit>\n<parameter=new>\nx\n</tool_call>\nThen I go on.<|im_end|>",
        "of parameter new has no </parameter>",
    ),
    (
        "cut in a value that names a tag",
        "<tool_call>\n<function=edit>\n<parameter=new>\nx = '</tool_call>'\nfor y in",
        "of parameter new has no </parameter>",
    ),
    (
        "</function> twice, with words between",
        xml("new>\nb").replace("</fu", "</function>\nok\n</fu"),
        "of new comes text",
    ),
    (
        "Hermes, words after the JSON",
        '<tool_call>{"name": "edit", "arguments": {}} I wait.</tool_call>',
        "more follows after its end: 'I wait.'",
    ),
    (
        "Hermes, a second object",
        '<tool_call>{"name": "edit", "arguments": {}}\n{"name": "edit"}</tool_call>',
        "more follows after its end",
    ),
    (
        "Hermes, braces doubled",
        '<tool_call>{{"name": "edit", "arguments": {{"path": "a"}}}}</tool_call>',
        """in double quotes at '{"name": "edit", "arguments": {{"path": ...'""",
    ),
    (
        "Hermes, single quotes",
        "<tool_call>{'name': 'edit', 'arguments': {}}</tool_call>",
        'write {"name": NAME, "arguments": {KEY: VALUE, ...}}',
    ),
    (
        "Hermes, a key twice",
        '<tool_call>{"name": "edit", "arguments": {"path": "a", "path": "b"}}</tool_call>',
        "'path' is given twice",
    ),
    (
        "Hermes, half a character",
        r'<tool_call>{"name": "edit", "arguments": {"path": "\ud83d"}}</tool_call>',
        "half a character",
    ),
    (
        "Hermes, no number",
        '<tool_call>{"name": "edit", "arguments": {"scale": NaN}}</tool_call>',
        "NaN is no JSON number",
    ),
    (
        "Hermes, nested deeply",
        f'<tool_call>{{"name": {"[" * 9999}</tool_call>',
        "nested too deeply",
    ),
]

A = xml("path>\na")
EDIT_A = ToolCall("edit", {"path": "a"})

REPLIES: list[tuple[str, str, list[ReplyPiece]]] = [
    (
        "prose that spells the tag, then a call",
        f"The `\\<tool_call>` tag opens a call.\n\n{A}",
        [Text("The `<tool_call>` tag opens a call."), EDIT_A],
    ),
    (
        "prose that names the tag with its token, then goes on",
        "Qwen writes `<tool_call>` first.\nThen it waits.",
        [Text("Qwen writes `<tool_call>` first.\nThen it waits.")],
    ),
    (
        "prose that names both tags with their tokens, then a call",
        f"Between <tool_call> and </tool_call> stands JSON.\n{A}",
        [Text("Between <tool_call> and </tool_call> stands JSON."), EDIT_A],
    ),
    (
        "prose that ends with the tag",
        "It is opened by <tool_call>\n<|im_end|>",
        [Text("It is opened by <tool_call>")],
    ),
    ("a call in the line of the prose before it", f"I look: {A}", [Text("I look:"), EDIT_A]),
    (
        "a call that begins in a line of prose, and has no end",
        "I look: <tool_call>\n<fun",
        [Text("I look: <tool_call>\n<fun")],
    ),
    ("words between two calls", f"{A}\n\nAnd:\n\n{A}", [EDIT_A, Text("And:"), EDIT_A]),
    (
        "the same call until the reply is full",
        f"{A}\n" * 3 + A[:-30],
        [
            *([EDIT_A] * 3),
            BadToolCall(
                A[len("<tool_call>") : -30],
                "The reply was cut off inside parameter path; nothing was done. "
                "Write less at once.",
            ),
        ],
    ),
    (
        "a call inside a thought",
        f"<think>\nI try {A} now\n</think>\n\nDone.",
        [Thinking(f"I try {A} now"), Text("Done.")],
    ),
    (
        "a call inside a thought that never ends",
        f"<think>\nI try {A}<|im_end|>",
        [Thinking(f"I try {A}")],
    ),
    (
        "a thought closed twice, then a call",
        f"<think>\nx\n</think>\n\n</think>\n\n{A}",
        [Thinking("x"), EDIT_A],
    ),
]
