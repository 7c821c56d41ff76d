"""The fixed words with which a family's prompt announces the tools and the form of a call.

They are not ours to improve: the models were trained on exactly these. Between the two halves
stands the list, one line of JSON a tool.
"""

from inference.profiles import CALL_CLOSE, CALL_OPEN, CallSyntax

_XML_BEFORE = """# Tools

You have access to the following functions:

<tools>"""

_XML_AFTER = f"""
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

{CALL_OPEN}
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
{CALL_CLOSE}

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must \
be nested within {CALL_OPEN}{CALL_CLOSE} XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the \
function call, but NOT after
- If there is no function call available, answer the question like normal with your current \
knowledge and do not tell the user about function calls
</IMPORTANT>"""

_HERMES_BEFORE = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""

_HERMES_AFTER = f"""
</tools>

For each function call, return a json object with function name and arguments within \
{CALL_OPEN}{CALL_CLOSE} XML tags:
{CALL_OPEN}
{{"name": <function-name>, "arguments": <args-json-object>}}
{CALL_CLOSE}"""

TOOL_WORDS: dict[CallSyntax, tuple[str, str]] = {
    "xml": (_XML_BEFORE, _XML_AFTER),
    "hermes": (_HERMES_BEFORE, _HERMES_AFTER),
}
