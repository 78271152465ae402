"""The deployment's files as data: the compose file, and the Kubernetes manifests as kustomize builds them.

`build` does the part of kustomize that our overlays use (resources, namespace, labels, images, generated
ConfigMaps with merge, JSON patches by kind) and fails on any other word, so that nothing is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shared.measures.weave import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMAS = Path(__file__).parent / "schemas"
HANDLED = {
    "apiVersion",
    "kind",
    "resources",
    "namespace",
    "labels",
    "images",
    "configMapGenerator",
    "patches",
}
Manifest = dict[str, Any]


@cache
def compose() -> Mapping[str, Any]:
    """docker-compose.yml, its merges done, its variables as they stand."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8")))


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text("utf-8"))


def documents(file: Path) -> list[Manifest]:
    return [dict(found) for found in yaml.safe_load_all(file.read_text("utf-8")) if found]


def build(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization."""
    (said,) = documents(folder / "kustomization.yaml")
    assert said.keys() <= HANDLED, f"{folder}: {said.keys() - HANDLED} is not understood here"
    made: list[Manifest] = []
    for name in said["resources"]:
        place = (folder / name).resolve()
        made += build(place) if place.is_dir() else documents(place)
    for generated in said.get("configMapGenerator", ()):
        _generate(made, generated, folder)
    for patch in said.get("patches", ()):
        _patch(made, patch)
    for manifest in made:
        metadata = manifest["metadata"]
        for labels in said.get("labels", ()):
            metadata.setdefault("labels", {}).update(labels["pairs"])
        if "namespace" in said and manifest["kind"] != "Namespace":
            metadata["namespace"] = said["namespace"]
        for container in containers(manifest):
            for image in said.get("images", ()):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return made


def _generate(made: list[Manifest], generated: Mapping[str, Any], folder: Path) -> None:
    data = dict(literal.split("=", 1) for literal in generated.get("literals", ()))
    data |= {name: (folder / name).read_text("utf-8") for name in generated.get("files", ())}
    if generated.get("behavior") == "merge":
        (there,) = (
            m for m in made if m["kind"] == "ConfigMap" and m["metadata"]["name"] == generated["name"]
        )
        there["data"] |= data
        return
    metadata = {"name": generated["name"]}
    made.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _patch(made: list[Manifest], patch: Mapping[str, Any]) -> None:
    assert patch["target"].keys() == {"kind"}
    for manifest in made:
        if manifest["kind"] == patch["target"]["kind"]:
            for step in yaml.safe_load(patch["patch"]):
                assert step["op"] == "replace"
                *way, last = step["path"].strip("/").split("/")
                at = manifest
                for part in way:
                    at = at[part]
                assert last in at
                at[last] = step["value"]


def pod_of(manifest: Manifest) -> Manifest | None:
    """The pod's template in a workload: metadata and spec."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Deployment" | "Job":
            return dict(spec["template"])
        case "CronJob":
            return dict(spec["jobTemplate"]["spec"]["template"])
    return None


def containers(manifest: Manifest) -> Iterator[Manifest]:
    pod = pod_of(manifest)
    if pod is not None:
        yield from pod["spec"]["containers"]
        yield from pod["spec"].get("initContainers", ())


OVERLAYS = ("production", "sandbox")


@cache
def _overlay(name: str) -> list[Manifest]:
    folder = KUBERNETES / name
    return [*build(folder), *build(folder / "jobs"), *build(folder / "accounts")]


def overlay(name: str) -> list[Manifest]:
    """Everything of one installation."""
    return deepcopy(_overlay(name))


def everything() -> list[Manifest]:
    """Of all installations, and the backups."""
    return [*(m for name in OVERLAYS for m in overlay(name)), *build(ROOT / "deploy" / "backup")]


def title(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return f"{metadata.get('namespace', '')}/{manifest['kind']}/{metadata['name']}"


def environment(container: Mapping[str, Any], made: list[Manifest]) -> dict[str, str]:
    """A container's variables: what a ConfigMap says, what stands there, `secret:NAME/KEY` for secrets."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        name = source["configMapRef"]["name"]
        (config,) = (m for m in made if m["kind"] == "ConfigMap" and m["metadata"]["name"] == name)
        found |= config["data"]
    for variable in container.get("env", ()):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = f"secret:{secret['name']}/{secret['key']}"
    return found
