"""A small server for built pages on this machine, as a web host would serve them.

It listens on the loopback address only. Text is compressed, files whose address holds
a checksum may be kept for a year, and everything else is asked for again by its ETag.
"""

import gzip
import hashlib
import re
import sys
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"
TEXT = ("text/", "application/json", "image/svg+xml", "application/x-ipynb+json")
# `?v=CHECKSUM`, or a picture named by the hash of its bytes.
NAMED_BY_CONTENT = re.compile(r"\?v=[0-9a-f]+$|/_images/[0-9a-f]{64}\.\w+$")
A_YEAR = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
COMPRESSION = 6


@lru_cache(maxsize=512)
def body_of(path: Path, _changed: int, *, compress: bool) -> tuple[bytes, str]:
    """Return a file's content, compressed if asked, and its ETag.

    `_changed` is the time of the last change, so that a new version is read again.
    """
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:16]
    if compress:
        return gzip.compress(content, COMPRESSION, mtime=0), f'"{tag}-gz"'
    return content, f'"{tag}"'


class Handler(SimpleHTTPRequestHandler):
    """Serve one folder of pages."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".ipynb": "application/x-ipynb+json",
        ".svg": "image/svg+xml",
        "": "application/octet-stream",
    }

    def send_head(self) -> None:
        """Answer a request for a file; the body is written here too."""
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind = self.guess_type(str(path))
        text = kind.startswith(TEXT)
        compress = text and "gzip" in self.headers.get("Accept-Encoding", "")
        body, tag = body_of(path, path.stat().st_mtime_ns, compress=compress)
        known = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
        self.send_header("ETag", tag)
        self.send_header("Vary", "Accept-Encoding")
        named = NAMED_BY_CONTENT.search(self.path)
        self.send_header("Cache-Control", A_YEAR if named else ASK_AGAIN)
        self.send_header("X-Content-Type-Options", "nosniff")
        if compress:
            self.send_header("Content-Encoding", "gzip")
        if not known:
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not known and self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Stay silent: a line per request hides the address to open."""


class Server(ThreadingHTTPServer):
    """Says nothing when a browser closes a connection early, as browsers do."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report an error, unless the other side is gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """Return a server for `folder`, not yet started; port 0 takes a free one.

    Raises: ValueError if the folder holds no pages.
    """
    if not (folder / "index.html").is_file():
        raise ValueError(f"{folder} holds no pages; run `make site` first.")
    handler = partial(Handler, directory=str(folder))
    return Server((HOST, port), handler)


def serve(folder: Path, *, port: int = 8000) -> int:
    """Serve `folder` until interrupted; return the exit code."""
    try:
        listening = server(folder, port=port)
    except (ValueError, OSError) as error:
        reason = (
            f"Port {port} is in use; choose another with --port."
            if isinstance(error, OSError)
            else error
        )
        print(reason, file=sys.stderr)
        return 1
    print(f"http://{HOST}:{listening.server_port}/  (stop with Ctrl-C)", flush=True)
    with listening:
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
