"""Where things are natively. In containers every service listens on its own host's port 8000 and knows the
others by name; here all are on one host. This table is all that differs from the file's environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.kafka.configuration import free_port

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Places:
    """The folder that stands for the volumes, and a port for everybody who listens."""

    folder: Path
    postgres: int = field(default_factory=free_port)
    kafka: int = field(default_factory=free_port)
    kafka_controller: int = field(default_factory=free_port)
    kafka_local: int = field(default_factory=free_port)
    roster: int = field(default_factory=free_port)
    lending: int = field(default_factory=free_port)
    compensation: int = field(default_factory=free_port)
    gateway: int = field(default_factory=free_port)

    @property
    def table(self) -> Mapping[str, str]:
        """What the file says → what it is here."""
        return {
            "@postgres/": f"@{HERE}:{self.postgres}/",
            "kafka:9092": f"{HERE}:{self.kafka}",
            "localhost:9093": f"{HERE}:{self.kafka_controller}",
            "localhost:9094": f"{HERE}:{self.kafka_local}",
            "http://roster:8000": f"http://{HERE}:{self.roster}",
            "http://lending:8000": f"http://{HERE}:{self.lending}",
            "http://compensation:8000": f"http://{HERE}:{self.compensation}",
            "http://gateway:8000": f"http://{HERE}:{self.gateway}",
            "INSIDE://:9092": f"INSIDE://{HERE}:{self.kafka}",
            "/var/lib/kafka/data": str(self.folder / "kafka"),
            "/deploy/": f"{self.folder}/deploy/",
        }

    def here(self, said: str) -> str:
        """A value of the file as it is here."""
        for there, place in self.table.items():
            said = said.replace(there, place)
        return said

    def environment(self, said: Mapping[str, str]) -> dict[str, str]:
        """An environment of the file as it is here."""
        own = {name: self.here(value) for name, value in said.items()}
        if own.get("PGHOST") == "postgres":
            own |= {"PGHOST": HERE, "PGPORT": str(self.postgres)}
        return own
