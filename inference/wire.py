"""What front end and engine host say to each other: one frame, one message, over a Unix socket.

A frame is a length of four bytes and that many bytes of JSON. The messages are the dataclasses
below, told apart by `kind`; what comes in is checked against them before anything is done with it.
It knows no socket (`host.py`, `host_client.py`) and no torch.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from inference import errors
from inference.door import CallGrammar, DType, LoadStage, ThinkingLimit
from inference.errors import InferenceError
from inference.messages import Memory, SamplingOptions, StopReason, Usage
from inference.pictures import Place

MAX_FRAME_BYTES = 16 * 2**20
"""A window of 262,144 ids is 2 MB; whoever announces more than this is not one of us."""

_LENGTH = struct.Struct(">I")

TokenIds = tuple[Annotated[int, Field(ge=0, lt=2**31)], ...]


class BadFrame(Exception):
    """Bytes that are no message: the connection they came over is closed."""


# --- what a front end asks ----------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """I am a front end; tell me when the model is ready, and stay while I am here."""

    kind: Literal["open"] = "open"


@dataclass(frozen=True)
class AskStatus:
    """How are you? Asking does not keep the host alive."""

    kind: Literal["ask_status"] = "ask_status"


@dataclass(frozen=True)
class Find:
    """The longest known line that `tokens` starts with; `live` is the asker's own branch."""

    number: int
    tokens: TokenIds
    live: int | None
    reuse: bool = True
    kind: Literal["branch"] = "branch"


@dataclass(frozen=True)
class Generate:
    """Read `tokens` after those of the branch, then write a reply."""

    number: int
    branch: int
    tokens: TokenIds
    sampling: SamplingOptions
    max_new_tokens: Annotated[int, Field(ge=0)]
    stop_ids: TokenIds = ()
    keep_ids: TokenIds = ()
    marks: TokenIds = ()
    thinking: ThinkingLimit | None = None
    grammar: CallGrammar | None = None
    places: tuple[Place, ...] = ()
    kind: Literal["generate"] = "generate"


@dataclass(frozen=True)
class Append:
    """Read `tokens` after those of the branch, and write nothing."""

    number: int
    branch: int
    tokens: TokenIds
    marks: TokenIds
    places: tuple[Place, ...] = ()
    kind: Literal["append"] = "append"

    def as_generate(self) -> Generate:
        """The same as a reply of no tokens."""
        return Generate(
            self.number,
            self.branch,
            self.tokens,
            SamplingOptions(),
            0,
            marks=self.marks,
            places=self.places,
        )


@dataclass(frozen=True)
class Fork:
    """Make a second line from the end of this branch; without `reuse` nothing of it is kept."""

    number: int
    branch: int
    reuse: bool = True
    kind: Literal["fork"] = "fork"


@dataclass(frozen=True)
class TakeSnapshot:
    """Keep the end of this branch among the places that prompts are looked up in."""

    number: int
    branch: int
    kind: Literal["snapshot"] = "snapshot"


@dataclass(frozen=True)
class Measure:
    """How long is this branch? Asked after a reply that was not listened to until its end."""

    number: int
    branch: int
    kind: Literal["measure"] = "measure"


@dataclass(frozen=True)
class Cancel:
    """Stop request `number` at the next chunk or token. Not answered: the request ends itself."""

    number: int
    kind: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class Close:
    """Nobody holds this branch any more. Not answered."""

    branch: int
    kind: Literal["close"] = "close"


Work = Find | Append | Generate | Fork | TakeSnapshot | Measure
"""Requests that need the engine, and are answered under their number."""

Request = Open | AskStatus | Work | Cancel | Close


# --- what the host answers ----------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The answer to `Open`, at once: who this is."""

    pid: int
    identity: str
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True)
class Loading:
    """The model is on its way: `LoadProgress`."""

    num_bytes: int
    num_total_bytes: int
    stage: LoadStage = "download"
    elapsed_s: float = 0.0
    kind: Literal["loading"] = "loading"


@dataclass(frozen=True)
class Ready:
    """The model is loaded; what a front end must know of it."""

    folder: str
    config: dict[str, Any]
    context_tokens: int
    weights: str
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Failed:
    """A request that could not be done, or, with `number` 0, a host that could not start."""

    number: int
    error: str
    text: str
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Done:
    """The branch that a request was about or made, and how many tokens it has read."""

    number: int
    branch: int
    num_tokens: int
    kind: Literal["done"] = "done"


@dataclass(frozen=True)
class Chunk:
    """Progress of a prefill."""

    number: int
    num_done: int
    num_total: int
    elapsed_s: float
    kind: Literal["chunk"] = "chunk"


@dataclass(frozen=True)
class OneToken:
    """One token of a reply."""

    number: int
    id: int
    kind: Literal["token"] = "token"


@dataclass(frozen=True)
class End:
    """The end of a generation or an append; the branch has read `num_tokens`."""

    number: int
    stop_reason: StopReason
    usage: Usage
    token_ids: TokenIds
    num_tokens: int
    notices: tuple[str, ...] = ()
    memory: Memory | None = None
    kind: Literal["end"] = "end"


@dataclass(frozen=True)
class HostStatus:
    """What a host says of itself."""

    pid: int
    source: str
    device: str
    dtype: DType
    is_ready: bool
    """False while the model is being loaded."""
    num_clients: int
    num_branches: int
    idle_s: float
    """Since the last front end left; 0 while there is one."""
    idle_limit_s: float
    """The host leaves when `idle_s` reaches it."""
    rss_bytes: int
    log: str
    kind: Literal["status"] = field(default="status", repr=False)


Outcome = Done | Chunk | OneToken | End | Failed
"""Answers under a request's number."""

Reply = Hello | Loading | Ready | Outcome | HostStatus

REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
REPLIES: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


# --- frames -------------------------------------------------------------------------------------


def pack_request(request: Request) -> bytes:
    """Return the frame of a request."""
    return _frame(REQUESTS.dump_json(request))


def pack_reply(reply: Reply) -> bytes:
    """Return the frame of a reply."""
    return _frame(REPLIES.dump_json(reply))


def read_request(body: bytes) -> Request:
    """Return the request in a frame.

    Raises:
        BadFrame: it is none.
    """
    try:
        return REQUESTS.validate_json(body, strict=True)
    except ValidationError as error:
        raise BadFrame(_first_fault(error)) from error


def read_reply(body: bytes) -> Reply:
    """Return the reply in a frame.

    Raises:
        BadFrame: it is none.
    """
    try:
        return REPLIES.validate_json(body, strict=True)
    except ValidationError as error:
        raise BadFrame(_first_fault(error)) from error


class Frames:
    """Cuts what a socket delivers into the bodies of frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies that are whole with `data`.

        Raises:
            BadFrame: one is announced that is longer than any of ours.
        """
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {length:,} bytes")
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield body


def _frame(body: bytes) -> bytes:
    assert len(body) <= MAX_FRAME_BYTES, "a message of ours fits a frame"
    return _LENGTH.pack(len(body)) + body


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


# --- errors -------------------------------------------------------------------------------------

_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, InferenceError)
}


def failed(number: int, error: InferenceError) -> Failed:
    """Return an error as it travels."""
    return Failed(number, type(error).__name__, str(error))


def error_of(reply: Failed) -> InferenceError:
    """Return the exception that was raised in the host."""
    return _ERRORS.get(reply.error, InferenceError)(reply.text)
