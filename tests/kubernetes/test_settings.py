"""The settings in the manifests are valid settings of the services."""

import os
from itertools import product
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from libs.runtime.clock import SystemClock
from libs.runtime.exactly_once.stage import Stage
from libs.runtime.kafka_security.settings import KafkaSecuritySettings
from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.runtime.timing import CLOSE_TIMEOUT_S, COMMIT_TIMEOUT_S
from live.live_settings import LiveSettings
from services.analytics import analytics_engine
from services.analytics.analytics_settings import AnalyticsSettings
from services.generator.generator_settings import GeneratorSettings
from services.processor import order_processor
from services.processor.processor_settings import ProcessorSettings
from services.sink.sink_settings import SinkSettings
from tests.kubernetes.manifests import (
    BUILDS,
    ROOT,
    SERVICES,
    Resources,
    build,
    build_from_guide,
    container_of,
    environment_of,
    mounted_files,
    of_kind,
    one,
    pod_of,
    workloads,
)
from tests.security.certificates import Authority

SETTINGS: dict[str, type[ServiceSettings]] = {
    "generator": GeneratorSettings,
    "processor": ProcessorSettings,
    "analytics": AnalyticsSettings,
    "sink": SinkSettings,
    "live": LiveSettings,
}
OF_KAFKA_SECURITY = {name.upper() for name in KafkaSecuritySettings.model_fields}


def settings_of(service: str) -> set[str]:
    return {name.upper() for name in SETTINGS[service].model_fields} | OF_KAFKA_SECURITY


@pytest.fixture
def no_other_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    everything = set().union(*map(settings_of, SERVICES))
    for name in everything & os.environ.keys():
        monkeypatch.delenv(name)
    return monkeypatch


def test_every_variable_is_a_setting(resources: Resources) -> None:
    found = workloads(resources)
    assert found.keys() == SETTINGS.keys()
    known_to_one = set().union(*map(settings_of, SERVICES))
    for name, workload in found.items():
        own = {variable["name"] for variable in container_of(workload).get("env", ())}
        assert own <= settings_of(name), name
        assert environment_of(resources, workload).keys() <= known_to_one, name


def test_every_service_accepts_the_values(
    resources: Resources, no_other_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Including those from files and Secrets: each named file is a mounted Secret."""
    contents = {"ca.crt": Authority(tmp_path).file.read_bytes(), "password": b"password"}
    for name, workload in workloads(resources).items():
        files = {path: tmp_path / path.replace("/", "_") for path in mounted_files(workload)}
        for path, key in mounted_files(workload).items():
            files[path].write_bytes(contents[key])
        environment = environment_of(resources, workload)
        for variable, value in environment.items():
            assert not (value or "").startswith("/run/") or value in files, f"{name}: {variable}={value} is no file"
            no_other_settings.setenv(variable, str(files.get(value, value)) if value is not None else "of-a-secret")
        settings = load_settings(SETTINGS[name], [])
        assert (settings.http_host, settings.http_port) == ("::", 8080)
        secured = any(path.startswith("/run/kafka-security/") for path in files)
        assert settings.kafka.security.protocol == ("SASL_SSL" if secured else "PLAINTEXT")
        for variable in environment:
            no_other_settings.delenv(variable)


def test_all_services_get_the_same_window_and_prefix() -> None:
    """They are defined in one place, like the number of partitions, which limits the autoscaling."""
    for name in BUILDS:
        own = [each["name"] for each in workloads(build(name)).values() for each in container_of(each).get("env", ())]
        assert not {"WINDOW_SECONDS", "TOPIC_PREFIX", "TOPIC_PARTITIONS", "TOPIC_REPLICATION_FACTOR"} & set(own)


def test_the_termination_grace_period_exceeds_the_longest_commit(resources: Resources) -> None:
    for workload in workloads(resources).values():
        assert pod_of(workload)["terminationGracePeriodSeconds"] > COMMIT_TIMEOUT_S + 3 * CLOSE_TIMEOUT_S


def test_each_command_matches_the_image() -> None:
    """``env`` only blocks signals until the service has handlers."""
    for name, workload in workloads(build("base")).items():
        dockerfile = ROOT / ("live" if name == "live" else f"services/{name}") / "Dockerfile"
        lines = dockerfile.read_text().splitlines()
        container = container_of(workload)
        assert f"/{name}:" in container["image"]
        assert any(line == f"USER {pod_of(workload)['securityContext']['runAsUser']}:10001" for line in lines) or (
            name == "sink"  # becomes the owner of its folder unless a user is set
        )
        if "command" in container:
            assert not any(line.startswith("ENTRYPOINT") for line in lines), name
            blocked, *command = container["command"][1:]
            assert blocked == "--block-signal=TERM,INT"
            assert f"CMD {str(command).replace(chr(39), chr(34))}" in lines
        else:
            assert any(line.startswith('ENTRYPOINT ["env", "--block-signal=TERM,INT"') for line in lines), name


@pytest.mark.parametrize("overlay", ["overlays/plaintext", "overlays/secured"])
@pytest.mark.parametrize("name", ["processor", "analytics"])
def test_a_stage_scales_with_the_lag_of_its_own_group_up_to_one_replica_per_partition(overlay: str, name: str) -> None:
    resources = build(overlay)
    scaled = one(resources, "ScaledObject", name)["spec"]
    target = one(resources, "Deployment", scaled["scaleTargetRef"]["name"])
    environment = environment_of(resources, target)
    stage = make_stage(name)
    (trigger,) = scaled["triggers"]
    lag = trigger["metadata"]
    assert (lag["consumerGroup"], lag["topic"]) == (
        f"{environment['TOPIC_PREFIX']}{stage.name}",
        f"{environment['TOPIC_PREFIX']}{stage.source.name}",
    )
    assert lag["bootstrapServersFromEnv"] in environment
    assert scaled["maxReplicaCount"] == int(environment["TOPIC_PARTITIONS"] or 0)
    assert 2 <= scaled["minReplicaCount"] <= scaled["maxReplicaCount"]
    assert "replicas" not in target["spec"], "each `kubectl apply` would undo what KEDA has set"


def make_stage(name: str) -> Stage:
    clock, registry = SystemClock(), CollectorRegistry()
    if name == "processor":
        return order_processor.make_stage(ProcessorSettings(), clock, registry)
    return analytics_engine.make_stage(AnalyticsSettings(), clock, registry)


# OpenShift's DNS pods listen on 5353, and its policies apply to the pods' ports.
DNS_PORTS = {53, 5353}


def test_network_policies_allow_the_brokers_port_and_dns(resources: Resources) -> None:
    (policy,) = of_kind(resources, "NetworkPolicy").values()
    dns = policy["spec"]["egress"][0]["ports"]
    assert {(each["protocol"], each["port"]) for each in dns} == set(product(("UDP", "TCP"), DNS_PORTS))
    open_ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    for workload in workloads(resources).values():
        brokers = environment_of(resources, workload)["KAFKA_BOOTSTRAP_SERVERS"] or ""
        assert {int(broker.rpartition(":")[2]) for broker in brokers.split(",")} | DNS_PORTS == open_ports


def test_the_guides_overlay_allows_its_brokers_port(tmp_path: Path) -> None:
    test_network_policies_allow_the_brokers_port_and_dns(build_from_guide(tmp_path, "# kubernetes/overlays/mine/"))
