"""A person's visit without a browser: the same requests, cookies and websockets, in the same order.

A login link becomes a cookie, the cookie a dev machine, the dev machine a kernel, and cells run in it. Used
to run the quickstart notebook from a terminal and by the tests of the whole platform.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import websockets

__all__ = ["CellError", "Ran", "VisitError", "Visitor"]


class VisitError(Exception):
    """The platform did not do what a browser needs; one sentence says what."""


class CellError(VisitError):
    """A cell raised.

    Parameters
    ----------
    ran
        What it said until then.
    """

    def __init__(self, ran: Ran) -> None:
        super().__init__(f"{ran.error}: {ran.message}")
        self.ran = ran


@dataclass
class Ran:
    """What a cell said and showed."""

    text: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    message: str = ""
    count: int | None = None


class Visitor:
    """One person with one browser.

    Parameters
    ----------
    address
        Of the platform, such as ``http://127.0.0.1:8000``.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.http = httpx.Client(follow_redirects=True, timeout=30)
        self.name = ""

    def close(self) -> None:
        """Forget the cookies."""
        self.http.close()

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Open a page."""
        return self.http.get(self.address + path, **more)

    def log_in(self, link: str) -> None:
        """Follow a login link, which also starts the dev machine.

        Raises
        ------
        VisitError
            If the link was not accepted.
        """
        parts = urlsplit(link)
        answer = self.http.get(link, follow_redirects=False)
        if answer.status_code != 302:
            raise VisitError(f"the login link was refused ({answer.status_code})")
        if parts.query and parts.query in answer.headers["location"]:
            raise VisitError("the login link's token was copied into the next address")
        self.name = self.home()

    def log_in_as(self, name: str, password: str) -> None:
        """Fill in the hub's login form.

        Raises
        ------
        VisitError
            If name and password were not accepted.
        """
        self.get("/hub/login")
        form = {"username": name, "password": password, "_xsrf": self._cookies("/hub/").get("_xsrf", "")}
        self.http.post(f"{self.address}/hub/login", data=form, follow_redirects=False)
        self.name = self.home()

    def home(self) -> str:
        """Open the hub's home page; the name of the person logged in."""
        answer = self.get("/hub/home")
        if answer.status_code != 200:
            raise VisitError(f"not logged in ({answer.status_code})")
        found = answer.text.partition('user: "')[2].partition('"')[0]
        if not found:
            raise VisitError("the hub's home page does not say who is logged in")
        return found

    def start_machine(self, seconds: float = 120) -> float:
        """Start the dev machine and open JupyterLab; how many seconds that took."""
        began = time.monotonic()
        lab = f"/user/{quote(self.name)}/lab"
        answer = self.get(f"/hub/spawn/{quote(self.name)}")
        while answer.url.path.rstrip("/") != lab or answer.status_code != 200:
            if time.monotonic() - began > seconds:
                raise VisitError(
                    f"no JupyterLab within {seconds:.0f} s ({answer.status_code} {answer.url.path})"
                )
            time.sleep(0.1)
            answer = self.get(lab)
        return time.monotonic() - began

    def api(self, method: str, path: str, **more: Any) -> Any:
        """Call the dev machine's API as the page's script does; the JSON it answers."""
        base = f"/user/{quote(self.name)}/"
        headers = {"X-XSRFToken": self._cookies(base).get("_xsrf", "")}
        answer = self.http.request(method, f"{self.address}{base}api/{path}", headers=headers, **more)
        if answer.is_error:
            raise VisitError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.content else None

    def upload(self, path: str, text: str) -> None:
        """Write a text file on the dev machine; its folders are made."""
        for folder in _parents(path):
            self._make_folder(folder)
        self.api("PUT", f"contents/{quote(path)}", json={"type": "file", "format": "text", "content": text})

    def save_notebook(self, path: str, notebook: dict[str, Any]) -> None:
        """Write a notebook on the dev machine."""
        for folder in _parents(path):
            self._make_folder(folder)
        self.api("PUT", f"contents/{quote(path)}", json={"type": "notebook", "content": notebook})

    def start_kernel(self, notebook: str | None = None) -> Kernel:
        """Start a kernel; for a notebook, in its folder and in place of the one it had."""
        if notebook is None:
            return Kernel(self, self.api("POST", "kernels", json={"name": "python3"})["id"])
        for session in self.api("GET", "sessions"):
            if session["path"] == notebook:
                self.api("DELETE", f"sessions/{session['id']}")
        wanted = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        return Kernel(self, self.api("POST", "sessions", json=wanted)["kernel"]["id"])

    def connect(self, path: str) -> Any:
        """Open a websocket of the dev machine."""
        path = f"/user/{quote(self.name)}/{path}"
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies(path).items())
        address = self.address.replace("http", "ws", 1)
        return websockets.connect(
            address + path,
            origin=self.address,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            open_timeout=10,
            max_size=None,
        )

    def _make_folder(self, path: str) -> None:
        self.api("PUT", f"contents/{quote(path)}", json={"type": "directory"})

    def _cookies(self, path: str) -> dict[str, str]:
        """Name to value, as a browser would send them: the longest matching path wins."""
        jar = sorted((c for c in self.http.cookies.jar if path.startswith(c.path)), key=lambda c: len(c.path))
        return {cookie.name: cookie.value or "" for cookie in jar}


class Kernel:
    """A kernel on a visitor's dev machine."""

    def __init__(self, visitor: Visitor, ident: str) -> None:
        self._visitor = visitor
        self.ident = ident

    def run(
        self,
        code: str,
        *,
        seconds: float = 120,
        on_text: Callable[[str], None] | None = None,
    ) -> Ran:
        """Run one cell on a connection of its own and wait for its end.

        Raises
        ------
        CellError
            If it raised.
        VisitError
            If the connection broke or the cell took too long.
        """

        async def once() -> Ran:
            async with self.channel() as socket:
                return await run_cell(socket, code, seconds=seconds, on_text=on_text)

        try:
            return asyncio.run(once())
        except TimeoutError:
            raise VisitError(f"the cell had not ended after {seconds:g} s: {code[:60]!r}") from None
        except (websockets.WebSocketException, OSError) as error:
            raise VisitError(f"the connection to the kernel broke: {error}") from error

    def channel(self) -> Any:
        """A websocket to the kernel, for several cells."""
        session = uuid.uuid4().hex
        return self._visitor.connect(f"api/kernels/{self.ident}/channels?session_id={session}")

    def interrupt(self) -> None:
        """What the stop button does."""
        self._visitor.api("POST", f"kernels/{self.ident}/interrupt")

    def end(self) -> None:
        """Shut the kernel down."""
        self._visitor.api("DELETE", f"kernels/{self.ident}")


async def run_cell(
    socket: Any, code: str, *, seconds: float = 120, on_text: Callable[[str], None] | None = None
) -> Ran:
    """Run one cell on an open connection; raises `CellError` if it raised."""
    ident, ran = uuid.uuid4().hex, Ran()
    await socket.send(json.dumps(_execute(ident, code)))
    async with asyncio.timeout(seconds):
        while True:
            message = json.loads(await socket.recv())
            if message["parent_header"].get("msg_id") != ident:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            _take(ran, message["msg_type"], message["content"], on_text)
    if ran.error:
        raise CellError(ran)
    return ran


def _execute(ident: str, code: str) -> dict[str, Any]:
    return {
        "header": {
            "msg_id": ident,
            "msg_type": "execute_request",
            "username": "",
            "session": ident,
            "date": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        },
    }


def _take(ran: Ran, kind: str, content: dict[str, Any], on_text: Callable[[str], None] | None) -> None:
    """Add one message to what a cell said, in the notebook format."""
    if kind == "stream":
        ran.text += content["text"]
        if on_text is not None:
            on_text(content["text"])
        last = ran.outputs[-1] if ran.outputs else {}
        if last.get("output_type") == "stream" and last["name"] == content["name"]:
            last["text"] += content["text"]
        else:
            ran.outputs.append({"output_type": "stream", "name": content["name"], "text": content["text"]})
    elif kind in {"execute_result", "display_data"}:
        plain = content["data"].get("text/plain", "")
        ran.text += plain
        if on_text is not None and plain:
            on_text(f"{plain}\n")
        shown = {"output_type": kind, "data": content["data"], "metadata": content["metadata"]}
        if kind == "execute_result":
            shown["execution_count"] = content["execution_count"]
        ran.outputs.append(shown)
    elif kind == "error":
        ran.error, ran.message = content["ename"], content["evalue"]
        ran.outputs.append({"output_type": "error", **content})
    elif kind == "execute_input":
        ran.count = content["execution_count"]


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])
