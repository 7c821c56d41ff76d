"""A small real HTTP server that speaks the API from a script, faults included."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
Send = Callable[[str], None]
"""Writes a line of the stream; without any, the answer is an error."""


@dataclass
class Answer:
    """One answer to a request for a reply."""

    chunks: Sequence[dict[str, Any] | str] = ()
    """Sent as they are if they are text."""
    status: int = 200
    body: str = ""
    """Of an answer that is no stream."""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    """Whether the connection breaks after the last chunk."""
    pauses: Sequence[float] = ()
    """Seconds before each chunk; nothing before those that are not named."""


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    answers: list[Answer] = field(default_factory=list)
    """In this order; the last one from then on."""
    models: Any = field(default_factory=lambda: [{"id": "qwen3.5-tiny", "max_model_len": 8192}])
    counts: bool = False
    """Whether it counts tokens: one for each word."""
    key: str = ""
    """The one that it wants."""
    pages: dict[str, str] = field(default_factory=dict)
    """Other answers, by path."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client goes away in the midst of a reply."""
    url: str = ""


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Write a chunk with one choice."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"} | {
        "choices": [choice]
    }


def call(index: int, name: str | None, arguments: str, id: str | None = None) -> dict[str, Any]:
    """Write a part of a call that was taken apart."""
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


def usage(**more: Any) -> dict[str, Any]:
    """Write the chunk at the end that says what a reply cost."""
    return {**delta(), "choices": [], "usage": {**USAGE, **more}}


def says(*texts: str, **more: Any) -> Answer:
    """Answer in so many parts."""
    return Answer([*(delta(content=text) for text in texts), delta("stop"), usage(**more)])


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """Serve a script; its `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path in script.pages:
                self._plain(200, script.pages[self.path])
            elif script.key and self.headers.get("Authorization") != f"Bearer {script.key}":
                self._plain(401, '{"error": "no"}')
            elif self.path == "/v1/models":
                self._plain(200, json.dumps({"object": "list", "data": script.models}))
            else:
                self._plain(404, '{"detail": "Not Found"}')

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":
                count = {"count": len(asked["prompt"].split())}
                self._plain(200 if script.counts else 404, json.dumps(count))
                return
            script.requests.append(asked)
            script.headers.append(dict(self.headers))
            answer = script.answers[min(len(script.requests), len(script.answers)) - 1]
            if answer.status != 200 or answer.body:
                self._plain(answer.status, answer.body, answer.headers)
                return
            try:
                self._stream(answer)
            except OSError:
                script.left.set()

        def _stream(self, answer: Answer) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            pauses = [*answer.pauses, *[0.0] * len(answer.chunks)]
            for chunk, pause in zip(answer.chunks, pauses, strict=False):
                end = 40 * pause
                while end > 0 and not script.left.wait(0.025):
                    self._line(": still there")  # by which we learn that the client has left
                    end -= 1
                self._line(chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}")
            if answer.is_cut:
                self.close_connection = True
                return
            self._line("data: [DONE]")
            self.wfile.write(b"0\r\n\r\n")

        def _line(self, text: str) -> None:
            data = f"{text}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def _plain(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_words: Any) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_words: Any) -> None:
            return

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        script.left.set()
        server.shutdown()
        server.server_close()
        thread.join()
