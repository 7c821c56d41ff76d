"""Between the objects of the protocol's schema and the JSON on the wire."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.frontends.acp.rpc import INVALID_PARAMS, Params, RpcError

Words = TypeVar("Words", bound=BaseModel)
MAX_FAULTS = 5
MAX_NAME = 80
WHOLE = ("mcpServers", "additionalDirectories")
"""The lists of which the schema would pass over what it cannot read: a person asked for that."""


def as_params(words: BaseModel) -> Params:
    """Return an object as JSON can hold it."""
    return words.model_dump(mode="json", by_alias=True, exclude_none=True)


def read(kind: type[Words], params: Params) -> Words:
    """Read what the other side sent as what it ought to be.

    Raises:
        RpcError: it is not; the error says where.
    """
    try:
        found = kind.model_validate(params)
        _check_whole(kind, params)
        return found
    except (ValidationError, RecursionError) as error:
        raise RpcError(
            INVALID_PARAMS, "the params are not as the protocol says", _faults(error)
        ) from error


def _check_whole(kind: type[BaseModel], params: Params) -> None:
    """See that nothing is left out of a list.

    Raises:
        RpcError: something would be; the error names it.
    """
    named = {field.alias: name for name, field in kind.model_fields.items()}
    for alias in WHOLE:
        items = params.get(alias) if alias in named else None
        for number, item in enumerate(items or ()):
            if not getattr(kind.model_validate({**params, alias: [item]}), named[alias]):
                name = f" ({item['name']!r})" if isinstance(item, dict) and "name" in item else ""
                raise RpcError(
                    INVALID_PARAMS, f"{alias}.{number}{name[:MAX_NAME]} is not as the protocol says"
                )


def _faults(error: ValidationError | RecursionError) -> Params:
    if isinstance(error, RecursionError):
        return {"faults": ["it is nested too deeply"]}
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:MAX_FAULTS]]
    return {"faults": shown}
