"""A Hugging Face hub of a few files on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


class Hub:
    """Repositories by name; counts what is asked. `cut`: the next download of that file ends after so many bytes."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.cut: dict[str, int] = {}
        self.hold: dict[str, int] = {}
        """After so many bytes of that file nothing more comes; once."""
        self.held = threading.Event()
        self.asked: list[tuple[str, str, str]] = []
        """Method, path, Range."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.serve(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append((request.command, path, request.headers.get("Range", "")))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            self._info(request, match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(request, match[1], match[2])
        else:
            _answer(request, 404, b"{}")

    def _info(self, request: BaseHTTPRequestHandler, repo: str) -> None:
        if repo not in self.repositories:
            _answer(request, 401, b"{}", {"X-Error-Code": "RepoNotFound"})
            return
        files = [{"rfilename": name} for name in sorted(self.repositories[repo])]
        _answer(request, 200, json.dumps({"id": repo, "sha": COMMIT, "siblings": files}).encode())

    def _file(self, request: BaseHTTPRequestHandler, repo: str, name: str) -> None:
        if repo in self.gated:
            _answer(request, 403, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        data = self.repositories.get(repo, {}).get(name)
        if data is None:
            _answer(request, 404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int((re.match(r"bytes=(\d+)", request.headers.get("Range", "")) or [0, 0])[1])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if request.command == "GET" and (most := self.hold.pop(name, None)):
            request.send_response(200)
            for header, value in headers.items():
                request.send_header(header, value)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data[:most])
            self.held.set()
            with contextlib.suppress(OSError):
                request.connection.recv(1)
            request.close_connection = True
            return
        cut = self.cut.pop(name, None) if request.command == "GET" else None
        _answer(request, 206 if start else 200, data[start:], headers, cut)


def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None,
            cut: int | None = None) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command == "HEAD":
        return
    request.wfile.write(body[:cut])
    if cut is not None:
        request.close_connection = True
