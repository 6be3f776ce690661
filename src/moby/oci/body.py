"""The body of an answer into a blob with as little copying as can be.

HTTP libraries hand out bodies in pieces of 64 KiB, copied several times, which costs more than checking them. A large
body whose length is known is instead read from the connection straight into the writer's memory, once the library has
given its first piece and has nothing left in its own buffer. That connection is closed afterwards. Were a byte lost or
doubled on the way, the digest would tell.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import httpx

from moby.oci import blob

# Below this the connection is worth more, as it can be used again.
_LARGE_BYTES = 4 << 20


def copy(response: httpx.Response, writer: blob.Writer, arrived: Callable[[int], None]) -> bool:
    """Append the body to ``writer``, telling ``arrived`` of each piece. False when the connection broke before its end.

    Raises what ``arrived`` and ``writer`` raise.
    """
    pieces = response.iter_raw()
    left = _length(response)
    try:
        for piece in pieces:
            writer.write(piece)
            arrived(len(piece))
            left -= len(piece)
            if left >= _LARGE_BYTES and (connection := _connection(response)) is not None:
                return _receive(connection, left, writer, arrived)
    except httpx.TransportError:
        return False
    return True


def _receive(connection: socket.socket, left: int, writer: blob.Writer, arrived: Callable[[int], None]) -> bool:
    """Append ``left`` bytes that are still to come. The time-out is what the library set for its own reads."""
    while left:
        room = writer.room()
        try:
            count = connection.recv_into(room, min(left, len(room)))
        except OSError:  # time-outs and TLS errors are among these
            return False
        if not count:
            return False
        writer.filled(count)
        arrived(count)
        left -= count
    return True


def _length(response: httpx.Response) -> int:
    """How long the body is; 0 when that is not said, or said in a way that only the library should interpret."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and "transfer-encoding" not in response.headers else 0


def _connection(response: httpx.Response) -> socket.socket | None:
    """What the bytes of the body come from, when that is one socket: plain, or with one layer of TLS."""
    stream = response.extensions.get("network_stream")
    if stream is None or response.http_version not in ("HTTP/1.0", "HTTP/1.1"):
        return None
    found = stream.get_extra_info("socket")
    layer = stream.get_extra_info("ssl_object")
    if type(found) is socket.socket and layer is None:
        return found
    # A socket's own layer is an object of the interpreter; one of ``SSLObject`` is TLS within the socket's.
    return found if isinstance(found, ssl.SSLSocket) and not isinstance(layer, ssl.SSLObject) else None
