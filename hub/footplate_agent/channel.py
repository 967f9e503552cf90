"""A socket that carries one JSON object a line, between processes of one machine."""

from __future__ import annotations

import json
import select
import socket
import threading
from typing import Any, Dict, List

__all__ = ["Channel", "ChannelClosed"]

_CHUNK = 65536
_LONGEST_LINE = 16 * 2**20
_MOST_UNSENT = 64 * 2**20


class ChannelClosed(Exception):  # noqa: N818 - it tells of an end, not of an error
    """The other side is gone; every whole line that it had sent was received before."""


class Channel:
    """Lines in and lines out.

    Parameters
    ----------
    connection
        A connected stream socket; made non-blocking.
    patience
        Seconds that `send` waits for a reader that does not read; past them the line is not sent.
    """

    def __init__(self, connection: socket.socket, patience: float = 5.0) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._patience = patience
        self._received = b""
        self._unsent = bytearray()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """For selectors."""
        return self.connection.fileno()

    def send(self, message: Dict[str, Any]) -> None:
        """Send one object.

        Raises
        ------
        ChannelClosed
            If the other side is gone, or has read nothing for too long.
        """
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        with self._sending:
            while data:
                try:
                    data = data[self.connection.send(data, socket.MSG_NOSIGNAL) :]
                except BlockingIOError:
                    if not select.select([], [self.connection], [], self._patience)[1]:
                        raise ChannelClosed("the other side does not read") from None
                except OSError as error:
                    raise ChannelClosed(str(error)) from None

    def post(self, message: Dict[str, Any]) -> bool:
        """Send one object without ever waiting; False if some of it is left for `flush`.

        Raises
        ------
        ChannelClosed
            If the other side is gone, or has read nothing of a great deal.
        """
        self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(self._unsent) > _MOST_UNSENT:
            raise ChannelClosed("the other side does not read")
        return self.flush()

    def flush(self) -> bool:
        """Send what is left of what was posted; True once nothing is."""
        try:
            while self._unsent:
                del self._unsent[: self.connection.send(self._unsent, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            return False
        except OSError as error:
            raise ChannelClosed(str(error)) from None
        return True

    def receive(self) -> List[Dict[str, Any]]:
        """The whole objects that have arrived; call it when the socket is readable.

        Raises
        ------
        ChannelClosed
            At the end of the stream, once nothing whole is left.
        ValueError
            If a line is no JSON object, or too long to be one of ours.
        """
        ended = False
        while True:
            try:
                data = self.connection.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                ended = True
                break
            self._received += data
            if len(self._received) > _LONGEST_LINE:
                break
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > _LONGEST_LINE:
            raise ValueError("a line is too long")
        if ended and not lines:
            raise ChannelClosed("the other side is gone")
        return [_parse(line) for line in lines if line.strip()]

    def close(self) -> None:
        """Close the socket."""
        self.connection.close()


def _parse(line: bytes) -> Dict[str, Any]:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a line is not a JSON object")  # noqa: TRY004 - what was sent, not what was passed
    return message
