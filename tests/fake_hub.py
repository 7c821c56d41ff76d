"""A hub of models on loopback: what huggingface_hub asks for when it downloads a repository.

It serves bytes that a test gives it, can be told to break off in the middle of a file, and keeps
the paths that were asked for.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors",)


class FakeHub(ThreadingHTTPServer):
    """Repositories by id; each has one revision, which `main` names."""

    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        self.break_after: dict[str, int] = {}
        """Bytes of a file after which the next answer breaks off; once."""
        self.lies: dict[str, bytes] = {}
        """What is sent in the place of a file, of the same length."""
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, hub_id: str) -> str:
        words = json.dumps({n: sha256(b) for n, b in sorted(self.repositories[hub_id].items())})
        return hashlib.sha1(words.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers what a client of the hub asks."""

    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_words: object) -> None:
        """Print nothing."""

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        for hub_id, files in self.server.repositories.items():
            commit = self.server.commit(hub_id)
            api, resolve = f"/api/models/{hub_id}", f"/{hub_id}/resolve/"
            if path in (api, f"{api}/revision/main", f"{api}/revision/{commit}"):
                return self._json({"id": hub_id, "sha": commit, "siblings": []})
            if path.startswith(f"{api}/revision/"):
                return self._json({"error": "no revision"}, 404, "RevisionNotFound")
            if path.startswith(f"{api}/tree/"):
                return self._json([entry(name, content) for name, content in files.items()])
            revision, _, name = path.removeprefix(resolve).partition("/")
            if path.startswith(resolve) and revision in ("main", commit) and name in files:
                return self._file(name, files[name], commit, with_body)
        return self._json({"error": "Repository not found"}, 401, "RepoNotFound")

    def _json(self, content: Any, status: int = 200, error: str = "") -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, name: str, content: bytes, commit: str, with_body: bool) -> None:
        first = 0
        if wanted := self.headers.get("Range"):
            first = int(wanted.removeprefix("bytes=").split("-")[0])
        body = self.server.lies.get(name, content)[first:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{blob_id(name, content)}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        end = self.server.break_after.pop(name, None)
        self.wfile.write(body[:end])
        if end is not None:
            self.close_connection = True
            self.connection.close()


def entry(name: str, content: bytes) -> dict[str, Any]:
    """Describe a file as the hub does."""
    found = {"type": "file", "path": name, "size": len(content), "oid": blob_id(name, content)}
    if name.endswith(LARGE):
        found["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 100}
    return found


def blob_id(name: str, content: bytes) -> str:
    return sha256(content) if name.endswith(LARGE) else hashlib.sha1(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[FakeHub]:
    """Serve until the end of the block."""
    server = FakeHub(repositories)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
