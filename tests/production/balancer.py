"""One address before several replicas, as a container network's names or a cluster's service are: each
connection goes to the next replica that takes it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.production.places import HERE


class Balancer:
    """Listens on `port`; `ports` are the replicas', changed at will."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ports: list[int] = []
        self.served: dict[int, int] = {}
        """Connections by the replica that took them."""
        self._server: asyncio.Server | None = None
        self._at_work: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, HERE, self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        try:
            for _ in range(len(self.ports)):
                self.ports.append(port := self.ports.pop(0))
                with suppress(OSError):
                    there_reader, there_writer = await asyncio.open_connection(HERE, port)
                    self.served[port] = self.served.get(port, 0) + 1
                    await _both_ways((reader, there_writer), (there_reader, writer))
                    return
        finally:
            writer.transport.abort()


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Until either side ends; then neither goes on."""
    tasks = [asyncio.create_task(_pipe(*way)) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in ways:
            writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
