"""Settings, ports and restart policies in docker-compose.yml, parsed from its text without an engine."""

import re

import pytest

from libs.runtime.kafka_security.settings import KafkaSecuritySettings
from tests.integration.services import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()
SETTINGS_PAGE = (ROOT / "docs" / "settings.md").read_text()
SECURED = (ROOT / "compose.secure.yml").read_text()
# The containers' own settings, as docs/settings.md says: addresses, ports, and the path of the output in them.
FIXED = {"KAFKA_BOOTSTRAP_SERVERS", "HTTP_HOST", "HTTP_PORT", "LIVE_HOST", "LIVE_PORT", "SINK_OUTPUT_PATH"}
LOCAL_MODE = {"LOCAL_DIR", "LOCAL_KAFKA", "LOCAL_KAFKA_PORT", "LOCAL_ZOOKEEPER_PORT", "LOCAL_HTTP_PORT"}


def services(compose: str = COMPOSE) -> dict[str, str]:
    """The text of each service, by name."""
    text = compose.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0].partition("\nnetworks:\n")[0]
    return dict(re.findall(r"^  ([a-z-]+):\n((?:    .*\n|\n)+)", text, re.MULTILINE))


def documented_settings() -> set[str]:
    table = SETTINGS_PAGE.partition("| setting | default | |")[2].partition("\n\n")[0]
    return {
        name
        for row in table.splitlines()
        for name in re.findall("`([A-Z_]+)`", row.split("|")[1] if "|" in row else "")
    }


def test_every_documented_setting_reaches_its_service() -> None:
    settings = documented_settings()
    assert settings > FIXED | LOCAL_MODE
    for name in settings - FIXED - LOCAL_MODE:
        values = re.findall(rf"^ +{name}:(.*)$", COMPOSE, re.MULTILINE)
        assert values, f"{name} is passed to no container"
        # The service of a profile may have its own value, as the database's sink has for SINK_OUTPUTS.
        assert any(not value.strip() or f"${{{name}:" in value for value in values), f"{name} is fixed: {values}"


@pytest.mark.parametrize("service", ["cli", "airflow"])
def test_readers_of_the_outputs_know_where_the_sink_writes(service: str) -> None:
    body, sink = services()[service], services()["sink"]
    settings = set(re.findall(r"^      (SINK_(?:OUTPUT|DATABASE)[A-Z_]*):", sink, re.MULTILINE))
    assert settings > {"SINK_OUTPUTS", "SINK_DATABASE_URL"}
    assert set(re.findall(r"^      (SINK_[A-Z_]+):", body, re.MULTILINE)) == settings
    assert "args: *parquet" in body
    dockerfile = ROOT / {"cli": "cli", "airflow": "bonus_airflow"}[service] / "Dockerfile"
    assert "services/sink/requirements-parquet.txt" in dockerfile.read_text()


def test_the_drain_in_the_live_page_s_container_knows_the_outputs() -> None:
    assert re.search(r"^      SINK_OUTPUTS:", services()["live"], re.MULTILINE)


def test_airflow_has_its_settings_in_the_container_as_well() -> None:
    table = (ROOT / "bonus_airflow" / "README.md").read_text().partition("| `PIPELINE_HEALTH_SCHEDULE`")
    names = re.findall(r"`(PIPELINE_[A-Z_]+)`", table[1] + table[2].partition("| `LOCAL_")[0])
    assert len(names) == 3
    for name in names:
        assert re.search(rf"^      {name}:", services()["airflow"], re.MULTILINE), name


def test_every_login_setting_reaches_every_service_without_secrets_in_the_environment() -> None:
    settings = {name.upper() for name in KafkaSecuritySettings.model_fields}
    secrets = {name for name in settings if f"{name}_FILE" in settings}
    common = COMPOSE.partition("x-settings: &settings\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^  (KAFKA_S[A-Z_]+):$", common, re.MULTILINE)) == settings - secrets
    assert not any(re.search(rf"\b{name}\b", COMPOSE) for name in secrets)
    for name, body in services().items():
        if "<<: *settings" in body and "volumes:" in body:
            assert "- *kafka-security" in body, name


def test_the_login_settings_are_documented() -> None:
    table = (ROOT / "docs" / "security.md").read_text().partition("| setting |")[2].partition("\n\n")[0]
    documented = {name for row in table.splitlines() for name in re.findall("`(KAFKA_[A-Z_]+)`", row.split("|")[1])}
    assert documented == {name.upper() for name in KafkaSecuritySettings.model_fields}


def test_the_container_settings_are_documented() -> None:
    exceptions = SETTINGS_PAGE.partition("Docker Compose reads the settings from")[2].partition("\n\n")[0]
    assert all(name in exceptions or f"{name.split('_')[0]}_…" in exceptions for name in FIXED)
    published = set(re.findall(r"\$\{(PIPELINE_[A-Z]+_PORT)", COMPOSE))
    assert published == set(re.findall("`(PIPELINE_[A-Z]+_PORT)`", exceptions))


def test_every_container_restarts_after_a_reboot() -> None:
    policies = dict.fromkeys(services(), "unless-stopped")
    for name, body in services().items():
        for own in re.findall(r"^    restart: (.*)$", body, re.MULTILINE):
            policies[name] = own
    assert policies.pop("generator") == "${GENERATOR_RESTART:-unless-stopped}"
    assert policies.pop("connect-register") == "on-failure"  # its registrations are stored in Kafka
    assert policies.pop("cli") == '"no"'  # it is run manually
    one_shot = {name for name, policy in policies.items() if policy == '"no"'}
    assert all(f"{name}: {{ condition: service_completed_successfully }}" in COMPOSE for name in one_shot)
    assert {policies[name] for name in policies.keys() - one_shot} == {"unless-stopped"}
    assert "x-common: &common" in COMPOSE
    assert "\n  restart: unless-stopped\n" in COMPOSE.partition("x-service:")[0]


def test_the_pipeline_check_has_its_own_ports() -> None:
    script = (ROOT / "test_pipeline.sh").read_text()
    started = [body for body in services().values() if "profiles:" not in body and "<<: *monitoring" not in body]
    ports = {port for body in started for port in re.findall(r"\$\{(PIPELINE_[A-Z]+_PORT)", body)}
    assert ports
    (exported,) = re.findall(r"^    export (.*) OUTPUT_DIR=", script, re.MULTILINE)
    assert set(exported.split()) == ports


def test_no_container_mounts_files_of_the_checkout() -> None:
    """Under umask 077 only their owner can read them; a copy in an image has its own mode."""
    # The output is written by the folder's owner; the catalogue and the certificates are chosen by the user.
    assert set(re.findall(r"source: (.*)$", COMPOSE, re.MULTILINE)) == {
        "${KAFKA_SECURITY_DIR:-/dev/null}",
        "${PROCESSOR_CATALOGUE_PATH:-/dev/null}",
        "${OUTPUT_DIR:-./output}",
        "${OUTPUT_DIR:-./output}/connect",
    }
    assert not re.findall(r"^ +- \./", COMPOSE, re.MULTILINE)
    for name, body in services().items():
        copies = re.findall(r"^ +COPY (.*)$", body, re.MULTILINE)
        assert all("--chmod=" in copy for copy in copies), name


def test_every_kafka_client_logs_in_on_the_secured_stack_or_is_removed() -> None:
    secured = services(SECURED)
    left_out = set(re.findall(r"^  ([a-z-]+): !reset null$", SECURED, re.MULTILINE))
    for name, body in services().items():
        if "<<: *settings" in body:
            assert "<<: *login" in secured[name], name
            assert "-secrets:/run/kafka:ro" in secured[name], name
            # The command is run manually, and starts nothing.
            assert ("<<: *after-setup" in secured[name]) is (name != "cli"), name
        elif "kafka:29092" in body:
            assert name in left_out or name == "kafka", name


def test_the_environment_of_the_secured_stack_has_no_password() -> None:
    names = re.findall(r"\b[A-Z_]*PASSWORD[A-Z_]*", SECURED)
    assert set(names) == {"KAFKA_SASL_PASSWORD_FILE", "KAFKA_PASSWORDS_DIR"}
