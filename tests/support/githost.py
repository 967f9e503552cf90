"""A host of private repositories, real git behind both of its doors: http with a token, ssh with a key.

The first is ``git http-backend`` behind a server that wants basic authentication. The second is an
``ssh`` for the PATH that lets in whoever shows the right key and then runs what it is told, as a host would.
"""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["https_host", "ssh_host"]


@contextmanager
def https_host(root: Path, token: str) -> Iterator[str]:
    """The address of a host that serves the repositories below a folder to who knows the token."""
    expected = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self._body())

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _serve(self, body: bytes) -> None:
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            env = {
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "ada",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }  # fmt: skip
            done = subprocess.run(
                ["git", "http-backend"], env=env, input=body, capture_output=True, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def ssh_host(folder: Path, key: str) -> Path:
    """A folder with an ``ssh`` that lets in whoever shows this key from a file of their own."""
    folder.mkdir()
    (folder / "expected").write_text(key)
    (folder / "ssh").write_text(
        "#!/bin/sh\n"
        "while [ $# -gt 1 ]; do\n"
        '  [ "$1" = -i ] && shown=$2\n'
        "  last=$2; shift\n"
        "done\n"
        f'cmp -s "$shown" {folder}/expected || {{ echo "Permission denied (publickey)." >&2; exit 255; }}\n'
        '[ "$(stat -c %a "$shown")" = 600 ] || { echo "unprotected private key file" >&2; exit 255; }\n'
        'exec sh -c "$last"\n'
    )
    (folder / "ssh").chmod(0o755)
    return folder
