"""A small server that speaks the model hub's protocol, for tests on this machine.

    GET  /api/models/O/M/revision/R        what the repository holds, with sizes
    GET  /api/models/O/M/tree/COMMIT       the same as a list of files
    HEAD, GET  /O/M/resolve/R/FILE         a file; a large one redirects to
    GET  /store/SHA256                     the store of large files, with ranges

As on the real hub, weights are "large" (git LFS), a large file's ETag is its sha256
and travels in X-Linked-Etag, and errors name their kind in X-Error-Code. What can
go wrong is set on the server: `cuts`, `ignore_range`, `damage`, `surplus`, `status`,
`stranger`, `said`.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin")


@dataclass
class Repository:
    """One model on the server.

    Attributes:
        commits: Commit -> file name -> content.
        refs: Branch or tag -> commit.
        gated: None, or the status of the refusal: 401 without a token, 403 with one.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: int | None = None

    def commit(self, files: dict[str, bytes], *refs: str) -> str:
        """Add a commit, let `refs` point to it and return its hash."""
        content = json.dumps({n: sha256(c) for n, c in sorted(files.items())})
        commit = git_hash(content.encode())
        self.commits[commit] = files
        self.refs |= dict.fromkeys(refs, commit)
        return commit

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return commit and files of a revision, or None if there is none."""
        commit = self.refs.get(revision, revision)
        files = self.commits.get(commit)
        return None if files is None else (commit, files)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return name -> content of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class HubServer(ThreadingHTTPServer):
    """The server; use it as a context manager.

    Attributes:
        repositories: Name -> repository.
        requests: (method, path, Range header or None) of every request.
        tokens: Paths of the requests that carried an access token.
        cuts: The next answers of the store end after so many bytes, each once.
        ignore_range: True sends large files from their start, whatever was asked.
        damage: True flips the first byte of large files.
        surplus: Bytes that follow the end of large files.
        status: A status that every API request is answered with, or None.
        stranger: True leaves out the header by which a hub is known.
        said: What the hub says in place of a commit or a sha256.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.tokens: list[str] = []
        self.cuts: list[int] = []
        self.ignore_range = False
        self.damage = False
        self.surplus = b""
        self.status: int | None = None
        self.stranger = False
        self.said: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def store_url(self) -> str:
        """The store's address: another host by its name, as on the real hub."""
        return f"http://localhost:{self.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def of_the_store(self) -> list[str | None]:
        """Return the Range header of every request for a large file."""
        return [r for _, path, r in self.requests if path.startswith("/store/")]

    def asked_for(self, name: str) -> bool:
        """Return whether a file of that name was asked for."""
        return any(path.endswith(f"/{name}") for _, path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if "Authorization" in self.headers:
            self.server.tokens.append(path)
        match path.strip("/").split("/"):
            case ["api", "models", *_] if self.server.status is not None:
                self._send(self.server.status)
            case ["api", "models", owner, model]:
                self._info(f"{owner}/{model}", "main")
            case ["api", "models", owner, model, "revision", *revision]:
                self._info(f"{owner}/{model}", "/".join(revision))
            case ["api", "models", owner, model, "tree", commit]:
                self._tree(f"{owner}/{model}", commit)
            case [owner, model, "resolve", revision, *name]:
                self._file(f"{owner}/{model}", revision, "/".join(name))
            case ["store", digest]:
                self._large(digest)
            case _:
                self._send(404)

    def _find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return commit and files, or answer with the error and return None."""
        repository = self.server.repositories.get(name)
        found = repository.files(revision) if repository else None
        if repository is None:
            # Without a token the hub says 401, not 404: a private one may exist.
            self._send(401, {"X-Error-Code": "RepoNotFound"})
        elif found is None:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        return found

    def _info(self, name: str, revision: str) -> None:
        if (found := self._find(name, revision)) is None:
            return
        commit, files = found
        gated = "manual" if self.server.repositories[name].gated else False
        siblings = [
            {"rfilename": n, "size": len(c), "blobId": git_hash(c), **_lfs(n, c)}
            for n, c in files.items()
        ]
        for about in (s["lfs"] for s in siblings if "lfs" in s):
            about["sha256"] = self.server.said.get("sha256", about["sha256"])
        commit = self.server.said.get("commit", commit)
        info = {"id": name, "sha": commit, "gated": gated, "siblings": siblings}
        self._send_json(info)

    def _tree(self, name: str, commit: str) -> None:
        if (found := self._find(name, commit)) is None:
            return
        tree = [
            {
                "type": "file",
                "path": n,
                "size": len(c),
                "oid": git_hash(c),
                **{k: {**v, "oid": v["sha256"]} for k, v in _lfs(n, c).items()},
            }
            for n, c in found[1].items()
        ]
        self._send_json(tree)

    def _file(self, name: str, revision: str, path: str) -> None:
        if (found := self._find(name, revision)) is None:
            return
        commit, files = found
        headers = {} if self.server.stranger else {"X-Repo-Commit": commit}
        if (refusal := self.server.repositories[name].gated) is not None:
            self._send(refusal, {**headers, "X-Error-Code": "GatedRepo"})
        elif path not in files:
            self._send(404, {**headers, "X-Error-Code": "EntryNotFound"})
        elif path.endswith(LARGE):
            digest = sha256(files[path])
            headers["X-Linked-Etag"] = f'"{digest}"'
            headers["X-Linked-Size"] = str(len(files[path]))
            headers["Location"] = f"{self.server.store_url}/store/{digest}"
            self._send(302, headers)
        else:
            headers["ETag"] = f'"{git_hash(files[path])}"'
            self._send(200, headers, files[path])

    def _large(self, digest: str) -> None:
        content = next(
            c
            for repository in self.server.repositories.values()
            for files in repository.commits.values()
            for c in files.values()
            if sha256(c) == digest
        )
        if self.server.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        content += self.server.surplus
        asked = self.headers.get("Range")
        if asked is None or self.server.ignore_range:
            self._send(200, {}, content)
            return
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206, {"Content-Range": span}, content[start:])

    def _send_json(self, content: object) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(200, kind, json.dumps(content).encode())

    def _send(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send an answer; an answer of the store may be cut."""
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.path.startswith("/store/") and self.server.cuts:
            body = body[: self.server.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


def _lfs(name: str, content: bytes) -> dict:
    if not name.endswith(LARGE):
        return {}
    about = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
    return {"lfs": about}
