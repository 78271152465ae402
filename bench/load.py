"""A load generator that costs little: keep-alive HTTP/1.1 over plain asyncio streams.

The clients of a bench share the machine with what is measured, so they must be light: each connection
sends the next prepared request as soon as the last answer is read.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvloop


@dataclass
class Result:
    """How many requests were answered in how many seconds, by status."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    sample: bytes = b""


def request(method: str, path: str, headers: Mapping[str, str], body: object = None) -> bytes:
    """One request as bytes."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: bench", f"content-length: {len(content)}"]
    if content:
        lines.append("content-type: application/json")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def run(host: str, port: int, requests: Iterator[bytes], connections: int) -> Result:
    """Send all requests over so many connections, one at a time each."""
    result = Result(0.0)

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for prepared in requests:
            writer.write(prepared)
            status, body = await _answer(reader)
            result.statuses[status] += 1
            if status >= 300 or not result.sample:
                result.sample = body
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    result.seconds = time.perf_counter() - began
    return result


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at >= 0:
        length = int(lowered[at + 15 : lowered.index(b"\r\n", at)])
        return status, await reader.readexactly(length)
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return status, b"".join(pieces)


def main(port: int, connections: int, repeat: int, file: Path) -> None:
    """Send the requests of a file (a JSON list of texts) and print what became of them as JSON."""
    requests = [text.encode() for text in json.loads(file.read_text("utf-8"))]
    sending = itertools.chain.from_iterable(itertools.repeat(requests, repeat))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run("127.0.0.1", port, sending, connections))
    told = {
        "requests": sum(result.statuses.values()),
        "seconds": result.seconds,
        "statuses": result.statuses,
        "sample": result.sample.decode(errors="replace"),
    }
    print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
