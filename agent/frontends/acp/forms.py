"""What an MCP server asks a person for, as the protocol's elicitation; unstable in version 1."""

from typing import Any

from acp import schema

from tools.mcp_form import Field, Form, Values

Property = (
    schema.ElicitationStringPropertySchema
    | schema.ElicitationIntegerPropertySchema
    | schema.ElicitationNumberPropertySchema
    | schema.ElicitationBooleanPropertySchema
)


def asked_of(
    form: Form, session_id: str, call_id: str
) -> schema.CreateFormSessionElicitationRequest:
    """Return the request; it names the server, which an editor would not know."""
    return schema.CreateFormSessionElicitationRequest(
        session_id=session_id,
        tool_call_id=call_id,
        mode="form",
        message=f"The MCP server {form.server} asks: {form.text}",
        requested_schema=schema.ElicitationSchema(
            properties={field.name: _property(field) for field in form.fields},
            required=[field.name for field in form.fields if field.is_required],
        ),
    )


def given_of(form: Form, answer: Any) -> Values | None:
    """Read the answer; None if the person declines.

    Raises:
        ValueError: it does not fit the form.
    """
    record = answer if isinstance(answer, dict) else {}
    if record.get("action") != "accept":
        return None
    content = record.get("content") or {}
    if not isinstance(content, dict):
        raise ValueError("the content of the answer is no object")
    return form.checked(content)


def _property(field: Field) -> Property:
    match field.kind:
        case "string":
            return schema.ElicitationStringPropertySchema(
                type="string", title=field.about, enum=[*field.choices] or None
            )
        case "integer":
            return schema.ElicitationIntegerPropertySchema(type="integer", title=field.about)
        case "number":
            return schema.ElicitationNumberPropertySchema(type="number", title=field.about)
        case "boolean":
            return schema.ElicitationBooleanPropertySchema(type="boolean", title=field.about)
