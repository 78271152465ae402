"""deploy/kubernetes: valid by Kubernetes' strict schema, every pod hardened, closed unless opened."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from services.city import SERVICES
from shared.measures.weave import ROOT
from shared.settings import Settings
from tests.deploy.manifests import (
    OVERLAYS,
    Manifest,
    compose,
    containers,
    environment,
    everything,
    overlay,
    pod_of,
    schema,
    title,
)

EVERYTHING = everything()
WORKLOADS = [manifest for manifest in EVERYTHING if pod_of(manifest) is not None]
CLUSTER_CONNECTIONS = 200
"""`max_connections` of docker-compose.yml's PostgreSQL, and what installing.md asks of an outside one."""


def of(made: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in made if m["kind"] == kind}


def pod(manifest: Manifest) -> Manifest:
    found = pod_of(manifest)
    assert found is not None
    return found


def validator(manifest: Manifest) -> Draft202012Validator:
    whole = schema("kubernetes.json")
    kind = f"{manifest['apiVersion']} {manifest['kind']}"
    return Draft202012Validator({"$ref": whole["kinds"][kind], "$defs": whole["$defs"]})


@pytest.mark.parametrize("manifest", EVERYTHING, ids=title)
def test_a_manifest_is_valid(manifest: Manifest) -> None:
    found = validator(manifest).iter_errors(manifest)
    assert [f"{list(e.absolute_path)}: {e.message[:300]}" for e in found] == []


def test_the_schema_is_strict() -> None:
    (deployment,) = (m for m in overlay("production") if title(m) == "kechuang/Deployment/roster")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    assert list(validator(deployment).iter_errors(deployment))


def test_every_name_is_used_once_in_a_namespace() -> None:
    for name in OVERLAYS:
        titles = [title(manifest) for manifest in overlay(name)]
        assert len(titles) == len(set(titles))


# ── every pod ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("manifest", WORKLOADS, ids=title)
def test_every_pod_is_hardened(manifest: Manifest) -> None:
    spec = pod(manifest)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(manifest):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() == {"cpu", "memory", "ephemeral-storage"}
        tag = container["image"].rsplit(":", 1)[1]
        assert re.match(r"\d+\.\d+", tag), "pinned to a version"
    for volume in spec["volumes"]:
        assert volume.keys() - {"name"} <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize("manifest", WORKLOADS, ids=title)
def test_no_secret_is_written_out(manifest: Manifest) -> None:
    for container in containers(manifest):
        for variable in container.get("env", ()):
            if re.search(r"(PASSWORD|SECRET|DATABASE_URL)$", variable["name"]):
                assert variable["valueFrom"].keys() == {"secretKeyRef"}


def test_no_secret_and_no_right_at_the_cluster_s_own_interface_is_in_the_tree() -> None:
    kinds = {manifest["kind"] for manifest in EVERYTHING}
    assert not kinds & {"Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    for account in of(EVERYTHING, "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_refuses_pods_that_are_not_hardened(name: str) -> None:
    (namespace,) = of(overlay(name), "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


# ── every service ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_probed_spread_and_ended_in_order(name: str) -> None:
    deployment = of(overlay("production"), "Deployment")[name]
    spec = pod(deployment)["spec"]
    (container,) = spec["containers"]
    assert container["args"] == [name]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert spec["terminationGracePeriodSeconds"] >= 20 + container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert {c["topologyKey"] for c in spec["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in deployment["spec"], "how many is the autoscaler's"


@pytest.mark.parametrize("name", SERVICES)
def test_what_selects_a_service_finds_its_pods(name: str) -> None:
    made = overlay("production")
    labels = pod(of(made, "Deployment")[name])["metadata"]["labels"]
    selectors = [
        of(made, "Deployment")[name]["spec"]["selector"]["matchLabels"],
        of(made, "Service")[name]["spec"]["selector"],
        of(made, "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        others = [pod(d)["metadata"]["labels"] for n, d in of(made, "Deployment").items() if n != name]
        assert not any(selector.items() <= other.items() for other in others)
    scaler = of(made, "HorizontalPodAutoscaler")[name]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert scaler["minReplicas"] >= 2
    assert pod(of(made, "Deployment")[name])["spec"]["serviceAccountName"] == name


def test_the_services_are_alike_but_for_their_names() -> None:
    """A line changed in one is changed in all."""

    def plain(name: str) -> list[str]:
        text = (ROOT / "deploy" / "kubernetes" / "base" / f"{name}.yaml").read_text("utf-8")
        text = text.split("\n", 1)[1].replace(name, "NAME").replace(name.upper(), "NAME")
        lines = [line for line in text.splitlines() if not re.search(r"requests:|limits:", line)]
        if name == "gateway":
            own = re.compile(r"KECHUANG_(SECRET|\w+_URL, value)|key: secret }")
            lines = [line for line in lines if not own.search(line)]
        return lines

    first, *others = SERVICES
    for other in others:
        assert plain(other) == plain(first)


@pytest.mark.parametrize("installation", OVERLAYS)
def test_the_databases_have_room_for_every_replica(installation: str) -> None:
    made = overlay(installation)
    scalers = of(made, "HorizontalPodAutoscaler").values()
    pool = int(of(made, "ConfigMap")["kechuang"]["data"]["KECHUANG_DATABASE_POOL"])
    # The relay holds a connection of its own, and a rolling change starts one replica more.
    assert sum((s["spec"]["maxReplicas"] + 1) * (pool + 1) for s in scalers) <= CLUSTER_CONNECTIONS


# ── settings ─────────────────────────────────────────────────────────────────────────────────────

TO_A_DATABASE_ELSEWHERE = {"PGSSLMODE", "PGSSLROOTCERT"}
DIFFERENT_ON_A_CLUSTER = {"KECHUANG_KAFKA_CA_FILE", "KECHUANG_DATABASE_POOL", *TO_A_DATABASE_ELSEWHERE}
"""Settings only the Kubernetes form needs: TLS to brokers elsewhere; many replicas on one PostgreSQL."""


@pytest.mark.parametrize("name", SERVICES)
def test_both_forms_tell_a_service_the_same_settings(name: str) -> None:
    made = overlay("production")
    (container,) = containers(of(made, "Deployment")[name])
    here, there = environment(container, made), compose()["services"][name]["environment"]
    assert here.keys() - DIFFERENT_ON_A_CLUSTER == there.keys() - {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    (job,) = containers(of(made, "Job")[f"migrate-{name}"])
    own = {f"KECHUANG_{name.upper()}_DATABASE_URL"}
    assert environment(job, made).keys() == own | TO_A_DATABASE_ELSEWHERE


def test_both_forms_tell_the_operator_the_same_settings() -> None:
    made = overlay("production")
    (container,) = containers(of(made, "CronJob")["check"])
    there = compose()["services"]["operator"]["environment"]
    assert environment(container, made).keys() - DIFFERENT_ON_A_CLUSTER == there.keys() - {
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    }


@pytest.mark.parametrize("installation", OVERLAYS)
def test_every_setting_exists_and_is_valid(installation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KECHUANG_")]:
        monkeypatch.delenv(name)
    made = overlay(installation)
    fields = {f"KECHUANG_{field.upper()}" for field in Settings.model_fields}
    for manifest in made:
        for container in containers(manifest):
            told = environment(container, made)
            ours = {n: v for n, v in told.items() if n.startswith("KECHUANG_")}
            assert ours.keys() <= fields
            plain = {n: v for n, v in ours.items() if not v.startswith("secret:")}
            settings = Settings.model_validate(
                {n.removeprefix("KECHUANG_").lower(): value for n, value in plain.items()}
            )
            assert settings.sandbox == (installation == "sandbox" and "KECHUANG_SANDBOX" in plain)
            if any(name.endswith("_DATABASE_URL") for name in ours):
                assert told["PGSSLMODE"] == "verify-full"


def test_production_keeps_three_copies_of_every_fact_and_is_no_sandbox() -> None:
    config = of(overlay("production"), "ConfigMap")["kechuang"]["data"]
    assert config["KECHUANG_KAFKA_REPLICAS"] == "3"
    assert config["KECHUANG_KAFKA_PROTOCOL"] == "SASL_SSL"
    assert config["KECHUANG_SANDBOX"] == "0"
    assert of(overlay("sandbox"), "ConfigMap")["kechuang"]["data"]["KECHUANG_SANDBOX"] == "1"


def test_every_secret_a_pod_asks_for_is_told_in_installing() -> None:
    asked: set[str] = set()
    for manifest in EVERYTHING:
        for container in containers(manifest):
            values = environment(container, EVERYTHING_NAMED[manifest["metadata"].get("namespace", "")])
            asked |= {v.removeprefix("secret:").split("/")[0] for v in values.values() if v[:7] == "secret:"}
        for volume in (pod_of(manifest) or {"spec": {"volumes": []}})["spec"]["volumes"]:
            if "secret" in volume:
                asked.add(volume["secret"]["secretName"])
    told = (ROOT / "docs" / "operations" / "installing.md").read_text("utf-8")
    for name in sorted(asked):
        general = re.sub(r"^kechuang-(roster|lending|compensation)$", "kechuang-SERVICE", name)
        assert f"`{name}`" in told or f"`{general}`" in told, name


EVERYTHING_NAMED: dict[str, list[Manifest]] = {
    "kechuang": overlay("production"),
    "kechuang-sandbox": overlay("sandbox"),
    "": EVERYTHING,
}


# ── who may talk to whom ─────────────────────────────────────────────────────────────────────────


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for demand in selector.get("matchExpressions", ()):
        assert demand["operator"] == "In"
        if labels.get(demand["key"]) not in demand["values"]:
            return False
    return True


class Network:
    """Whether the policies of an installation let a connection through, as a cluster would decide."""

    def __init__(self, made: list[Manifest]) -> None:
        self.policies = [m["spec"] for m in made if m["kind"] == "NetworkPolicy"]
        workloads = [pod(m) for m in made if pod_of(m) is not None]
        self.pods = {
            p["metadata"]["labels"]["app.kubernetes.io/name"]: p["metadata"]["labels"] for p in workloads
        }

    def _rules(self, name: str, way: str) -> list[Any]:
        """The rules that bind a pod; it is bound by the default policy in any case."""
        bound = [
            policy
            for policy in self.policies
            if matches(policy["podSelector"], self.pods[name]) and way.capitalize() in policy["policyTypes"]
        ]
        assert bound, f"{name} is bound by no policy for {way}"
        return [rule for policy in bound for rule in policy.get(way, ())]

    def _lets(self, rules: list[Any], side: str, port: int, peer: dict[str, Any]) -> bool:
        return any(
            any(p["port"] == port for p in rule["ports"]) and any(_is(said, peer) for said in rule[side])
            for rule in rules
        )

    def inside(self, source: str, target: str, port: int) -> bool:
        out = self._lets(self._rules(source, "egress"), "to", port, {"pod": self.pods[target]})
        into = self._lets(self._rules(target, "ingress"), "from", port, {"pod": self.pods[source]})
        return out and into

    def from_namespace(self, namespace: str, target: str, port: int) -> bool:
        return self._lets(self._rules(target, "ingress"), "from", port, {"namespace": namespace})

    def outside(self, source: str, port: int) -> bool:
        return self._lets(self._rules(source, "egress"), "to", port, {"address": True})


def _is(said: Manifest, peer: dict[str, Any]) -> bool:
    if "ipBlock" in said:
        return bool(peer.get("address"))
    if "namespaceSelector" in said:
        return "namespace" in peer and matches(
            said["namespaceSelector"], {"kubernetes.io/metadata.name": peer["namespace"]}
        )
    return "pod" in peer and matches(said["podSelector"], peer["pod"])


@pytest.mark.parametrize("installation", OVERLAYS)
def test_only_the_gateway_calls_a_service_and_a_service_calls_only_the_gateway(installation: str) -> None:
    network = Network(overlay(installation))
    everybody = set(network.pods)
    open_ways = {(a, b) for a in everybody for b in everybody if a != b and network.inside(a, b, 8000)}
    behind = [name for name in SERVICES if name != "gateway"]
    assert open_ways == {(name, "gateway") for name in behind} | {("gateway", name) for name in behind}


@pytest.mark.parametrize("installation", OVERLAYS)
def test_from_outside_only_the_gateway_is_reached_and_only_through_the_ingress(installation: str) -> None:
    network = Network(overlay(installation))
    reached = {name for name in network.pods if network.from_namespace("ingress-nginx", name, 8000)}
    assert reached == {"gateway"}
    assert not any(network.from_namespace("default", name, 8000) for name in network.pods)


@pytest.mark.parametrize("installation", OVERLAYS)
def test_metrics_are_for_monitoring_alone(installation: str) -> None:
    network = Network(overlay(installation))
    port = int(of(overlay(installation), "ConfigMap")["kechuang"]["data"]["KECHUANG_METRICS_PORT"])
    assert {n for n in network.pods if network.from_namespace("monitoring", n, port)} == set(SERVICES)
    assert not any(network.from_namespace("default", name, port) for name in network.pods)


@pytest.mark.parametrize("installation", OVERLAYS)
def test_the_data_is_reached_by_those_who_work_with_it(installation: str) -> None:
    network = Network(overlay(installation))
    assert all(network.outside(name, 5432) for name in network.pods)
    assert all(network.outside(name, 9093) for name in {*SERVICES, "operator", "accounts"})
    assert not any(network.outside(name, 443) for name in network.pods)
