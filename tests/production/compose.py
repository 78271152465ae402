"""`docker-compose.yml` as Docker Compose reads it: anchors and merges, and `.env` put in for `${NAME}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NAMED = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<word>[^}]*))?\})")


@dataclass(frozen=True)
class Container:
    """One service of the file."""

    name: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    restart: str
    after: frozenset[str]
    """The containers it waits for."""


def read(file: Path, env: Mapping[str, str]) -> dict[str, Container]:
    """The containers by name. Raises KeyError for a `${NAME}` that neither `env` nor the file gives."""
    document = yaml.safe_load(file.read_text("utf-8"))
    return {name: _container(name, said, env) for name, said in document["services"].items()}


def values(env_file: Path) -> dict[str, str]:
    """What a `.env` file says."""
    lines = env_file.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated(said: str, env: Mapping[str, str]) -> str:
    """With the values of `${NAME}`, `${NAME:-word}` and `${NAME:?word}`; `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        found = env.get(match["name"], "")
        if not found and match["how"] == ":-":
            return str(match["word"])
        if not found:
            raise KeyError(f"{match['name']}: {match['word'] or 'not set'}")
        return found

    return NAMED.sub(value, said)


def _container(name: str, said: Mapping[str, Any], env: Mapping[str, str]) -> Container:
    def words(key: str) -> tuple[str, ...]:
        return tuple(interpolated(str(word), env) for word in said.get(key, ()))

    return Container(
        name=name,
        entrypoint=words("entrypoint"),
        command=words("command"),
        environment={key: interpolated(str(v), env) for key, v in said.get("environment", {}).items()},
        restart=str(said.get("restart", "no")),
        after=frozenset(said.get("depends_on", {})),
    )
