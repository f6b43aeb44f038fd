"""A wrong password, certificate or port causes a one-line error with advice, and no endless retries."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import ORDERS, PRODUCT_METRICS
from libs.runtime.errors import BrokerLoginError, described
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.runtime.topics.creation import ensure_topics
from tests.integration.pipeline import Pipeline
from tests.integration.services import ENTRY_FILES, ROOT, eventually
from tests.security.broker import PASSWORD, SecuredBroker, set_scram_password
from tests.security.certificates import Authority
from tests.security.programs import Programs
from tests.security.tokens import BrokenProvider, Provider, token_endpoint

WRONG = "wrong horse"
Settings = Callable[[SecuredBroker], dict[str, str]]


def plaintext(secured: SecuredBroker) -> dict[str, str]:
    return {}


def over_plaintext(secured: SecuredBroker) -> dict[str, str]:
    return {name: value for name, value in secured.scram().items() if "SSL" not in name} | {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"
    }


def wrong_password(secured: SecuredBroker) -> dict[str, str]:
    return secured.scram() | {"KAFKA_SASL_PASSWORD": WRONG}


def other_mechanism(secured: SecuredBroker) -> dict[str, str]:
    return secured.scram() | {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}


def unknown_ca(secured: SecuredBroker) -> dict[str, str]:
    directory = secured.authority.file.parent / uuid4().hex
    directory.mkdir()
    return secured.tls() | {"KAFKA_SSL_CA_FILE": str(Authority(directory).file)}


def unknown_client(secured: SecuredBroker) -> dict[str, str]:
    directory = secured.authority.file.parent / uuid4().hex
    directory.mkdir()
    client = Authority(directory).issue("client")
    return secured.tls() | {"KAFKA_SSL_CERT_FILE": str(client.both)}


def expired_client(secured: SecuredBroker) -> dict[str, str]:
    return secured.tls() | {"KAFKA_SSL_CERT_FILE": str(secured.authority.issue("old client", expired=True).both)}


async def refusal_of(secured: SecuredBroker, listener: str, settings: dict[str, str]) -> str:
    """The last error of a service that starts with these settings."""
    bootstrap = secured.broker.bootstrap_servers if listener == "PLAINTEXT" else secured.at(listener)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        loaded = load_settings(ServiceSettings, [f"--kafka-bootstrap-servers={bootstrap}"])
    async with asyncio.timeout(60):
        with pytest.raises(BrokerLoginError) as refused:
            await unless_rejected(ensure_topics(loaded, [ORDERS]))
    message = described(refused.value)
    assert "\n" not in message
    assert WRONG not in message
    assert PASSWORD not in message
    return message


@pytest.mark.parametrize(
    ("listener", "settings", "message"),
    [
        ("SCRAM", wrong_password, "refuses user 'pipeline' .*SCRAM-SHA-512.*check KAFKA_SASL_USERNAME"),
        (
            "PLAIN",
            lambda secured: wrong_password(secured) | {"KAFKA_SASL_MECHANISM": "PLAIN"},
            "refuses user 'pipeline'",
        ),
        ("SCRAM", other_mechanism, "does not take KAFKA_SASL_MECHANISM=SCRAM-SHA-256.*SCRAM-SHA-512"),
        ("SCRAM", unknown_ca, "not signed by a known CA.*set KAFKA_SSL_CA_FILE"),
        ("EXPIRED", SecuredBroker.tls, "certificate of broker .* has expired.*renew"),
        ("RENAMED", SecuredBroker.tls, r"has another name.*127\.0\.0\.1.*advertised\.listeners"),
        ("SCRAM", plaintext, "speaks TLS.*PLAINTEXT does not fit.*set KAFKA_SECURITY_PROTOCOL=SSL"),
        ("SCRAM", over_plaintext, "speaks TLS.*set KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ("PLAINTEXT", SecuredBroker.tls, "speaks no TLS.*set KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ("PLAINTEXT", SecuredBroker.scram, "speaks no TLS.*set KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"),
        ("PLAINTEXT", over_plaintext, "has no SASL.*set KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ("OAUTH", plaintext, "requires SASL authentication.*set KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"),
        ("SCRAM", SecuredBroker.tls, "requires SASL authentication.*set KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ("MUTUAL", SecuredBroker.tls, "refuses the TLS connection.*set KAFKA_SSL_CERT_FILE"),
        ("MUTUAL", unknown_client, "refuses the TLS connection.*KAFKA_SSL_CERT_FILE='.*signed by a CA"),
        ("MUTUAL", expired_client, "refuses the TLS connection.*not expired"),
    ],
)
async def test_each_misconfiguration_is_named_with_advice(
    secured: SecuredBroker, listener: str, settings: Settings, message: str
) -> None:
    assert re.search(message, await refusal_of(secured, listener, settings(secured)))


async def test_rejected_tokens_are_reported(secured: SecuredBroker) -> None:
    with token_endpoint(lifetime_s=60) as endpoint:
        message = await refusal_of(secured, "OAUTH", endpoint.settings(WRONG))
        assert re.search("token endpoint .* refuses the client 'pipeline-client': 401 invalid_client", message)
        endpoint.lifetime_s = -60
        message = await refusal_of(secured, "OAUTH", endpoint.settings())
        assert re.search("refuses the token of this client, .*issuer, audience", message)


async def test_a_custom_token_provider_is_called(
    secured: SecuredBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
    path = f"{Provider.__module__}."
    broken = settings | {"KAFKA_SASL_OAUTH_TOKEN_PROVIDER": path + BrokenProvider.__name__}
    assert "RuntimeError('no region')" in await refusal_of(secured, "OAUTH", broken)
    for name, value in (settings | {"KAFKA_SASL_OAUTH_TOKEN_PROVIDER": path + Provider.__name__}).items():
        monkeypatch.setenv(name, value)
    loaded = load_settings(
        ServiceSettings, [f"--kafka-bootstrap-servers={secured.at('OAUTH')}", f"--topic-prefix={topic_prefix}"]
    )
    await unless_rejected(ensure_topics(loaded, [ORDERS]))


def test_a_tool_reports_a_rejected_login_and_ends(secured: SecuredBroker, programs: Programs, tmp_path: Path) -> None:
    for program, *arguments in (["verify"], ["watch"], ["dead-letters", "list"], ["recompute", "--yes"]):
        flags = (*arguments, f"--bootstrap={secured.at('SCRAM')}")
        ended = programs.run(program, tmp_path, wrong_password(secured), *flags)
        assert ended.code == 1, ended
        assert "refuses user 'pipeline'" in ended.output
        assert "Traceback" not in ended.output
        assert WRONG not in ended.output


async def test_a_service_uses_a_replaced_password_and_ends_when_it_stays_rejected(
    secured: SecuredBroker, topic_prefix: str, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    pipeline = Pipeline(secured.broker.bootstrap_servers, topic_prefix, tmp_path)
    settings = {name: value for name, value in secured.scram().items() if name != "KAFKA_SASL_PASSWORD"}
    settings |= {"KAFKA_SASL_PASSWORD_FILE": str(password), "KAFKA_BOOTSTRAP_SERVERS": secured.at("SCRAM")}
    impatient = Path(__file__).with_name("impatient_service.py")
    async with pipeline.service("sink", str(ROOT / ENTRY_FILES["sink"]), entry_file=impatient, **settings) as sink:
        await sink.healthy()
        try:
            await asyncio.to_thread(set_scram_password, secured.broker, "new horse")
            password.write_text("new horse")
            metric = encode_metric(ProductMetric(60, 120, "prod-1", 1, 100))
            async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
                await producer.send_and_wait(topic_prefix + PRODUCT_METRICS.name, metric)
            await eventually(
                lambda: pipeline.output.exists() and pipeline.output.read_bytes() == metric + b"\n",
                what="the sink continues",
            )
        finally:
            await asyncio.to_thread(set_scram_password, secured.broker, PASSWORD)
        assert await sink.wait() == 1
        failed = await sink.wait_for("service failed")
        assert "refuses user 'pipeline'" in failed["error"]
        assert "KAFKA_SASL_PASSWORD" in failed["advice"]
        assert any("trying again for 10 s" in str(each["event"]) for each in sink.events())
        log = sink.log.read_text()
        assert PASSWORD not in log
        assert "new horse" not in log
