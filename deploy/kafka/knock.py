"""Asks a broker, in Kafka's own protocol, whether it takes part in its cluster.

An open port is not enough: a KRaft broker takes connections before its controller lets it take part, and
a topic made in between is refused for want of brokers.
"""

from __future__ import annotations

import socket
import struct

# Metadata (key 3) version 1, correlation id 1, client "knock", an empty array of topics: brokers only.
_BODY = struct.pack(">hhih5si", 3, 1, 1, 5, b"knock", 0)
_REQUEST = struct.pack(">i", len(_BODY)) + _BODY


def answers(port: int, limit_seconds: float) -> bool:
    """Whether the broker on 127.0.0.1:`port` answers within the limit and names a broker at work."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=limit_seconds) as connection:
            connection.sendall(_REQUEST)
            (length,) = struct.unpack(">i", _exactly(connection, 4))
            correlation, brokers = struct.unpack_from(">ii", _exactly(connection, length))
    except (OSError, EOFError, struct.error):
        return False
    return bool(correlation == 1 and brokers > 0)


def listens(port: int) -> bool:
    """Whether anybody takes connections on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (more := connection.recv(count - len(found))):
            raise EOFError
        found += more
    return found
