"""The production form at work: PostgreSQL with a role a service, a broker with an account a service, the
migrations as jobs, and every service in a process of its own, lending in two.

Everything is read from `docker-compose.yml` and `.env` as `deploy/first-start.sh` makes it; what is
otherwise here is in the table of `places.py`.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.kafka.configuration import free_port
from services import demo_data
from shared.measures.weave import ROOT
from shared.settings import Settings
from tests.faults.process import SERVICES, Process
from tests.production import compose
from tests.production.balancer import Balancer
from tests.production.compose import Container
from tests.production.container import Replica, plain
from tests.production.kafka import Kafka
from tests.production.places import HERE, Places
from tests.production.postgres import Postgres, make_roles

NAMES = ("roster", "lending", "compensation", "gateway")
FIRST_ACCOUNT = "office"


@dataclass
class Production:
    """The running installation."""

    containers: dict[str, Container]
    env: dict[str, str]
    places: Places
    postgres: Postgres
    kafka: Kafka
    balancer: Balancer
    """Before lending's replicas."""
    replicas: dict[str, list[Replica]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.places.gateway}"

    @property
    def everybody(self) -> list[Replica]:
        return [replica for replicas in self.replicas.values() for replica in replicas]

    def environment(self, name: str) -> dict[str, str]:
        """A container's environment, as it is here."""
        return plain() | self.places.environment(self.containers[name].environment)

    async def tool(self, *arguments: str, container: str = "operator", words: str = "") -> tuple[int, str]:
        """`docker compose run --rm CONTAINER …`: its exit status and what it said."""
        return await Process((*SERVICES, *arguments), self.environment(container)).run(words)

    def settings(self) -> Settings:
        """The operator's settings: all databases, and the bus."""
        prefix = "KECHUANG_"
        said = self.environment("operator").items()
        return Settings.model_validate(
            {name.removeprefix(prefix).lower(): value for name, value in said if name.startswith(prefix)}
        )

    async def all_ready(self) -> None:
        await asyncio.gather(*(replica.ready() for replica in self.everybody))

    def words(self) -> str:
        """What everybody said last, for whoever looks into a failure."""
        return "\n".join(
            f"── {one.name}:{one.port}, lives ended {one.statuses}\n{one.process.last_words}…\n"
            + "".join(one.process.said)
            for one in self.everybody
        )

    async def up(self) -> None:
        """Clients need not wait: somebody answers, if only that it is away."""

    def replica(self, name: str, port: int) -> Replica:
        return Replica(self.containers[name], self.places, port)


@asynccontextmanager
async def production(folder: Path) -> AsyncIterator[Production]:
    """The whole form in `folder`, with the demo city's people in it, until the block ends."""
    env = _first_start(folder)
    containers = compose.read(ROOT / "docker-compose.yml", env)
    places = Places(folder)
    kafka = Kafka(containers["kafka"], containers["access"], places)
    postgres = Postgres(containers["postgres"], places)
    it = Production(containers, env, places, postgres, kafka, Balancer(places.lending))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postgres.close)
        stack.push_async_callback(kafka.stop)
        async with asyncio.TaskGroup() as group:
            group.create_task(kafka.make())
            group.create_task(_databases(it))
        await _services(it, stack)
        await it.all_ready()
        await _people(it)
        yield it


def _first_start(folder: Path) -> dict[str, str]:
    """Run the script in a copy of `deploy/`; what its `.env` says, and that this is a sandbox."""
    shutil.copytree(
        ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("target", "__pycache__")
    )
    for path in (folder / "deploy", *(folder / "deploy").rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
    subprocess.run(["sh", str(folder / "deploy" / "first-start.sh")], check=True, capture_output=True)
    return compose.values(folder / ".env") | {"KECHUANG_SANDBOX": "1"}


async def _databases(it: Production) -> None:
    await it.postgres.make()
    await it.postgres.start()
    await make_roles(it.containers["roles"], it.places)
    jobs = [name for name in it.containers if name.startswith("migrate-")]
    ended = await asyncio.gather(*(it.tool(*it.containers[job].command, container=job) for job in jobs))
    for job, (status, told) in zip(jobs, ended, strict=True):
        assert status == 0, f"{job}: {told}"


async def _services(it: Production, stack: AsyncExitStack) -> None:
    await it.balancer.start()
    stack.push_async_callback(it.balancer.stop)
    for name in NAMES:
        ports = [free_port(), free_port()] if name == "lending" else [getattr(it.places, name)]
        it.replicas[name] = [it.replica(name, port) for port in ports]
    it.balancer.ports = [replica.port for replica in it.replicas["lending"]]
    for replica in it.everybody:
        stack.push_async_callback(replica.stop)
        await replica.start()


async def _people(it: Production) -> None:
    """The office's first account by the operator's command, everybody else by the office."""
    status, told = await it.tool("first-account", FIRST_ACCOUNT, words=demo_data.PASSWORD)
    assert status == 0, told
    async with httpx.AsyncClient(base_url=it.url, timeout=60, trust_env=False) as client:
        await demo_data.make_city(client)
