"""Between the objects of the protocol's schema and the JSON on the wire."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.frontends.acp.rpc import INVALID_PARAMS, Params, RpcError

Words = TypeVar("Words", bound=BaseModel)
MAX_FAULTS = 5


def as_params(words: BaseModel) -> Params:
    """Return an object as JSON can hold it."""
    return words.model_dump(mode="json", by_alias=True, exclude_none=True)


def read(kind: type[Words], params: Params) -> Words:
    """Read what the other side sent as what it ought to be.

    Raises:
        RpcError: it is not; the error says where.
    """
    try:
        return kind.model_validate(params)
    except (ValidationError, RecursionError) as error:
        raise RpcError(
            INVALID_PARAMS, "the params are not as the protocol says", _faults(error)
        ) from error


def _faults(error: ValidationError | RecursionError) -> Params:
    if isinstance(error, RecursionError):
        return {"faults": ["it is nested too deeply"]}
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:MAX_FAULTS]]
    return {"faults": shown}
