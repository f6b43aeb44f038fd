"""Requirements of cluster administrators for pods, and that all referenced objects exist."""

import http.client
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from libs.runtime.service.health import Health
from libs.runtime.service.health_server import HealthServer
from monitoring.prometheus_rule import ALERTS, PROMETHEUS_RULE, prometheus_rule
from tests.kubernetes.manifests import (
    GUIDE,
    MANIFESTS,
    SERVICES,
    Resources,
    build,
    build_from_guide,
    container_of,
    environment_of,
    of_kind,
    one,
    pod_labels,
    pod_of,
    secrets_of,
    selects,
    workloads,
)
from tests.unit.test_health_server import has_ipv6

MEBIBYTE = 2**20
# Peaks from docs/performance.md and docs/guarantees.md, of the container or the process, whichever is higher; for the live
# page there is none.
PEAK_MB = {"generator": 53, "processor": 105, "analytics": 78, "sink": 84}


def test_every_pod_meets_the_restricted_pod_security_standard(resources: Resources) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root file system."""
    for name, workload in workloads(resources).items():
        pod, container = pod_of(workload), container_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}, name
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret"}, name
    for namespace in of_kind(resources, "Namespace").values():
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_guides_patch_for_openshift_leaves_the_user_to_its_constraint(tmp_path: Path) -> None:
    for name, workload in workloads(build_from_guide(tmp_path, "securityContext/runAsUser")).items():
        assert pod_of(workload)["securityContext"] == {
            "runAsNonRoot": True,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name


def test_pods_get_no_service_account_token_and_no_service_links(resources: Resources) -> None:
    for name, workload in workloads(resources).items():
        assert pod_of(workload)["automountServiceAccountToken"] is False, name
        # Service links would be read as settings: LIVE_PORT=tcp://10.0.0.1:80 of the Service `live`.
        assert pod_of(workload)["enableServiceLinks"] is False, name


def test_memory_limits_exceed_the_measured_peaks(resources: Resources) -> None:
    for name, workload in workloads(resources).items():
        resources_of = container_of(workload)["resources"]
        requested, limit = (int(resources_of[kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits"))
        assert requested <= limit
        assert limit * MEBIBYTE > 1.5e6 * PEAK_MB.get(name, 0), name
        assert "cpu" in resources_of["requests"], name
        assert "cpu" not in resources_of["limits"], f"{name} would be throttled during a transaction"


def test_a_kafka_outage_kills_no_pod(resources: Resources) -> None:
    """Startup and liveness probes do not request the path that returns 503 during a broker outage; readiness probes of the stages do."""
    health = Health()  # of a service that has never connected to its broker
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server:
        for name, workload in workloads(resources).items():
            container = container_of(workload)
            asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
            ports = {each["name"]: each["containerPort"] for each in container["ports"]}
            assert all(ports[probe["port"]] == 8080 for probe in asked.values()), name
            if name == "live":
                assert {probe["path"] for probe in asked.values()} == {"/"}
                continue
            answers = {kind: status_of("127.0.0.1", server.port, probe["path"]) for kind, probe in asked.items()}
            assert answers == {"startup": 200, "liveness": 200, "readiness": 503}, name


def test_probes_of_both_address_families_are_answered(resources: Resources) -> None:
    """In a cluster of IPv6 only, the kubelet and Prometheus have no other address."""
    addresses = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]
    for name, workload in workloads(resources).items():
        environment = environment_of(resources, workload)
        hosts = {value for variable, value in environment.items() if variable in ("HTTP_HOST", "LIVE_HOST")}
        for host in hosts:
            with HealthServer(Health(), CollectorRegistry(), host or "", 0) as server:
                assert [status_of(address, server.port, "/health/live") for address in addresses] == [200] * len(
                    addresses
                ), name


def status_of(address: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(address, port, timeout=60)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_every_selector_matches_a_pod(resources: Resources) -> None:
    labels = {name: pod_labels(each) for name, each in workloads(resources).items()}
    for name, workload in workloads(resources).items():
        assert selects(workload["spec"]["selector"]["matchLabels"], labels[name])
        for spread in pod_of(workload).get("topologySpreadConstraints", ()):
            assert selects(spread["labelSelector"]["matchLabels"], labels[name])
    for kind in ("PodDisruptionBudget", "Service"):
        for name, resource in of_kind(resources, kind).items():
            selector = resource["spec"]["selector"]
            assert [each for each in labels if selects(selector.get("matchLabels", selector), labels[each])] == [name]
    for kind, path in (("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        for resource in of_kind(resources, kind).values():
            assert all(selects(resource["spec"][path]["matchLabels"], each) for each in labels.values())


def test_every_referenced_port_and_volume_exists(resources: Resources) -> None:
    for name, workload in workloads(resources).items():
        claimed = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())]
        volumes = [*claimed, *(each["name"] for each in pod_of(workload)["volumes"])]
        assert sorted(volumes) == sorted(each["name"] for each in container_of(workload)["volumeMounts"]), name
    named = {port["name"] for each in workloads(resources).values() for port in container_of(each)["ports"]}
    for service in of_kind(resources, "Service").values():
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for monitor in of_kind(resources, "PodMonitor").values():
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= named


def test_the_sinks_file_is_on_a_volume_and_only_one_sink_writes_it(resources: Resources) -> None:
    sink = one(resources, "StatefulSet", "sink")
    assert sink["spec"]["replicas"] == 1
    assert sink["spec"]["serviceName"] in of_kind(resources, "Service")
    (claim,) = sink["spec"]["volumeClaimTemplates"]
    (mount,) = (each for each in container_of(sink)["volumeMounts"] if each["name"] == claim["metadata"]["name"])
    (path,) = (each["value"] for each in container_of(sink)["env"] if each["name"] == "SINK_OUTPUT_PATH")
    assert f"/app/{path}".startswith(f"{mount['mountPath']}/")


@pytest.mark.parametrize("stage", ["processor", "analytics"])
def test_replicas_of_a_stage_are_evicted_one_at_a_time_even_if_none_is_ready(resources: Resources, stage: str) -> None:
    budget = one(resources, "PodDisruptionBudget", stage)["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_secrets_are_referenced_but_not_included() -> None:
    for path in MANIFESTS.rglob("*.yaml"):
        assert not re.search(r"kind: Secret\b|secretGenerator|PRIVATE KEY", path.read_text()), path
    secured = build("overlays/secured")
    for name, workload in workloads(secured).items():
        assert set(secrets_of(workload)) == {
            ("kafka-ca", "ca.crt"),
            (f"kafka-user-{name}", "username"),
            (f"kafka-user-{name}", "password"),
        }
    for name, authentication in of_kind(secured, "TriggerAuthentication").items():
        (trigger,) = one(secured, "ScaledObject", name)["spec"]["triggers"]
        assert trigger["authenticationRef"] == {"name": name}
        assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")
        asked = {(each["name"], each["key"]) for each in authentication["spec"]["secretTargetRef"]}
        assert asked == set(secrets_of(workloads(secured)[name]))


def test_the_guide_creates_every_referenced_secret() -> None:
    guide = GUIDE.read_text()
    names = {name for workload in workloads(build("overlays/secured")).values() for name, _ in secrets_of(workload)}
    assert names == {"kafka-ca", *(f"kafka-user-{service}" for service in SERVICES)}
    assert "create secret generic kafka-ca" in guide
    assert f"for service in {' '.join(SERVICES)}" in guide
    assert "create secret generic kafka-user-$service" in guide


def test_the_guide_stops_and_starts_every_service_the_scaled_ones_by_their_scaled_object() -> None:
    """KEDA undoes `kubectl scale` within its polling interval."""
    resources = build("overlays/plaintext")
    scaled = of_kind(resources, "ScaledObject")
    others = [
        f"{each['kind'].lower()}/{name}" for name, each in workloads(resources).items() if name not in {*scaled, "live"}
    ]
    section = GUIDE.read_text().partition("**Stopping everything**")[2].partition("\n\n**")[0]
    commands = [
        line.removeprefix("kubectl -n order-pipeline ") for line in section.splitlines() if line.startswith("kubectl")
    ]
    pause = f"annotate scaledobject {' '.join(sorted(scaled, reverse=True))} autoscaling.keda.sh/paused-replicas"
    scale = f"scale {' '.join(sorted(others))} --replicas"
    assert [each for each in commands if not each.startswith("wait")] == [
        f"{pause}=0",
        f"{scale}=0",
        f"{scale}=1",
        f"{pause}-",
    ]


def test_the_alerts_equal_those_of_the_compose_stack() -> None:
    text = PROMETHEUS_RULE.read_text()
    assert text == prometheus_rule(ALERTS.read_text()), "make dashboards"
    assert yaml.safe_load(text)["spec"] == yaml.safe_load(ALERTS.read_text())


def test_every_job_in_the_alerts_is_scraped_under_its_name() -> None:
    resources = build("overlays/plaintext")
    (monitor,) = of_kind(resources, "PodMonitor").values()
    jobs = {pod_labels(each)[monitor["spec"]["jobLabel"]] for each in workloads(resources).values()}
    assert jobs == set(SERVICES)
    asked_for = set(re.findall(r'absent\(up\{job="([a-z-]+)"\}\)', ALERTS.read_text()))
    only_compose = {"sink-database"}  # missed only where it was scraped before
    assert only_compose < asked_for
    assert asked_for - only_compose <= jobs
