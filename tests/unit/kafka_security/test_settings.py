"""The settings are converted to aiokafka's arguments or rejected by name, and secrets are never shown."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.abc import AbstractTokenProvider

from libs.runtime.errors import SettingsError
from libs.runtime.kafka_security.oauth import ClientCredentials
from libs.runtime.kafka_security.security import KafkaAddress, client_arguments
from libs.runtime.kafka_security.settings import KafkaSecuritySettings, kafka_security
from libs.runtime.kafka_security.tls import ReloadingTls
from libs.runtime.service.settings import ServiceSettings, load_settings
from tests.security.certificates import Authority, Issued

HIDDEN = "hunter2"
SCRAM = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "pipeline",
    "KAFKA_SASL_PASSWORD": HIDDEN,
}
OAUTH = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTH_TOKEN_URL": "https://login.example/token",
    "KAFKA_SASL_OAUTH_CLIENT_ID": "pipeline",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": HIDDEN,
}


class Tokens(AbstractTokenProvider):
    async def token(self) -> str:
        return "token"


def no_tokens() -> object:
    return object()


def failing() -> object:
    raise RuntimeError("no region")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KafkaSecuritySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("client", key_password=HIDDEN)


def arguments(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> dict[str, Any]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return client_arguments(load_settings(ServiceSettings, ["--kafka-bootstrap-servers=b:1"]).kafka)


def test_there_is_no_login_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"bootstrap_servers": "b:1", "security_protocol": "PLAINTEXT"}
    assert arguments(monkeypatch, {}) == plain
    assert client_arguments("b:1") == client_arguments(KafkaAddress("b:1")) == plain


def test_scram(monkeypatch: pytest.MonkeyPatch) -> None:
    found = arguments(monkeypatch, SCRAM | {"KAFKA_SECURITY_PROTOCOL": "sasl_plaintext"})
    assert found.pop("sasl_plain_password").read() == HIDDEN
    assert found == {
        "bootstrap_servers": "b:1",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "pipeline",
    }


def test_tls_verifies_the_brokers_host_name(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    tls = arguments(monkeypatch, {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": str(authority.file)})[
        "ssl_context"
    ]
    assert isinstance(tls, ReloadingTls)
    context = tls.current()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(context.get_ca_certs()) == 1


def test_only_the_host_name_check_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SSL_INSECURE_SKIP_HOSTNAME_CHECK", "true")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    security = kafka_security()
    assert security.tls is not None
    context = security.tls.current()
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert any("KAFKA_SSL_INSECURE_SKIP_HOSTNAME_CHECK" in risk for risk in security.risks())


def test_a_client_certificate_with_an_encrypted_key(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, issued: Issued, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(f"{HIDDEN}\n")
    files = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
        "KAFKA_SSL_CERT_FILE": str(issued.certificate),
        "KAFKA_SSL_KEY_FILE": str(issued.key),
        "KAFKA_SSL_KEY_PASSWORD_FILE": str(password),
    }
    assert arguments(monkeypatch, files)["ssl_context"].files.key_file == issued.key
    password.write_text("other\n")
    with pytest.raises(SettingsError, match="KAFKA_SSL_KEY_PASSWORD"):
        kafka_security()


def test_an_encrypted_key_without_password_does_not_prompt(monkeypatch: pytest.MonkeyPatch, issued: Issued) -> None:
    with pytest.raises(SettingsError, match=r"KAFKA_SSL_CERT_FILE=.* cannot be used.*KAFKA_SSL_KEY_PASSWORD"):
        arguments(monkeypatch, {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT_FILE": str(issued.both)})


def test_client_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    found = arguments(monkeypatch, OAUTH | {"KAFKA_SASL_OAUTH_SCOPE": "kafka"})
    assert isinstance(found["sasl_oauth_token_provider"], ClientCredentials)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/x",
        "idp/token",
        f"https://pipeline:{HIDDEN}@login.example/token",
        f"https://pipeline:{HIDDEN}'s@login.example/token",
        f"https://pipeline:{HIDDEN}/s@login.example/token",
        "https://pipeline@login.example/token",
        "https:///token",
        "https://:443/token",
        "http://idp:99999/x",
        "http://idp:0/x",
        "http://idp:port/x",
        "http://i dp/x",
        "http://idp/x y",
        " http://idp/x",
        "http://idp/x\n",
        "http://idp/\x7f",
        "http://idp/\xfc",
        "http://a..b/x",
        "http://i%20dp/x",
        "http://[::1/x",
    ],
)
def test_a_token_url_that_cannot_be_asked_is_rejected_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(SettingsError, match=r"^KAFKA_SASL_OAUTH_TOKEN_URL: allowed is .*https://") as refused:
        arguments(monkeypatch, OAUTH | {"KAFKA_SASL_OAUTH_TOKEN_URL": url})
    assert url.strip() not in str(refused.value)
    assert HIDDEN not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/t", "HTTPS://[::1]:8443", "http://my_idp:/a@b?c=d", "https://xn--mnchen-3ya.example./t"],
)
def test_a_token_url_that_can_be_asked(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert arguments(monkeypatch, OAUTH | {"KAFKA_SASL_OAUTH_TOKEN_URL": url})["sasl_oauth_token_provider"].url == url


def test_a_token_provider_is_imported_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {name: OAUTH[name] for name in ("KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM")}
    found = arguments(monkeypatch, settings | {"KAFKA_SASL_OAUTH_TOKEN_PROVIDER": f"{__name__}.Tokens"})
    assert isinstance(found["sasl_oauth_token_provider"], Tokens)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Tokens", "it has no dot"),
        ("no.such.module.Tokens", "No module named 'no'"),
        (f"{__name__}.Missing", "has no attribute 'Missing'"),
        (f"{__name__}.no_tokens", "it gives a object"),
        (f"{__name__}.failing", "RuntimeError: no region"),
    ],
)
def test_an_invalid_path_is_rejected(monkeypatch: pytest.MonkeyPatch, path: str, why: str) -> None:
    settings = {name: OAUTH[name] for name in ("KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM")}
    with pytest.raises(SettingsError, match=f"KAFKA_SASL_OAUTH_TOKEN_PROVIDER='{path}'.*{why}.*package.module.Name"):
        arguments(monkeypatch, settings | {"KAFKA_SASL_OAUTH_TOKEN_PROVIDER": path})


def without(settings: dict[str, str], name: str) -> dict[str, str]:
    return {each: value for each, value in settings.items() if each != name}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, r"KAFKA_SECURITY_PROTOCOL='TLS': .*'SASL_SSL'"),
        (SCRAM | {"KAFKA_SASL_MECHANISM": "GSSAPI"}, r"KAFKA_SASL_MECHANISM='GSSAPI': .*'OAUTHBEARER'"),
        (without(SCRAM, "KAFKA_SASL_MECHANISM"), "KAFKA_SASL_MECHANISM is not set.*PLAIN, SCRAM-SHA-256"),
        (without(SCRAM, "KAFKA_SASL_USERNAME"), "KAFKA_SASL_USERNAME is not set"),
        (without(SCRAM, "KAFKA_SASL_PASSWORD"), "neither KAFKA_SASL_PASSWORD nor KAFKA_SASL_PASSWORD_FILE is set"),
        (SCRAM | {"KAFKA_SASL_PASSWORD_FILE": "/x"}, "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are both set"),
        (without(SCRAM, "KAFKA_SECURITY_PROTOCOL"), "KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, .*PLAINTEXT.*SASL_SSL"),
        (
            SCRAM | {"KAFKA_SSL_CA_FILE": "/x"},
            "KAFKA_SSL_CA_FILE has no effect with KAFKA_SECURITY_PROTOCOL=SASL_PLAIN",
        ),
        (SCRAM | {"KAFKA_SASL_OAUTH_SCOPE": "x"}, "KAFKA_SASL_OAUTH_SCOPE has no effect .*OAUTHBEARER"),
        (OAUTH | {"KAFKA_SASL_PASSWORD": HIDDEN}, "KAFKA_SASL_PASSWORD has no effect with KAFKA_SASL_MECHANISM=OAUTH"),
        (OAUTH | {"KAFKA_SASL_OAUTH_TOKEN_PROVIDER": "a.b"}, "CLIENT_SECRET has no effect beside .*TOKEN_PROVIDER"),
        (without(OAUTH, "KAFKA_SASL_OAUTH_TOKEN_URL"), "TOKEN_URL is not set.*or KAFKA_SASL_OAUTH_TOKEN_PROVIDER"),
        (without(OAUTH, "KAFKA_SASL_OAUTH_CLIENT_ID"), "KAFKA_SASL_OAUTH_CLIENT_ID is not set"),
        (without(OAUTH, "KAFKA_SASL_OAUTH_CLIENT_SECRET"), "neither KAFKA_SASL_OAUTH_CLIENT_SECRET nor"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_FILE": "/x"},
            "KAFKA_SSL_KEY_FILE .* without KAFKA_SSL_CERT_F",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/nowhere"},
            "KAFKA_SSL_CA_FILE='/nowhere'.*No such file",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": __file__},
            "KAFKA_SSL_CA_FILE=.*no certificate or crl",
        ),
        (
            without(SCRAM, "KAFKA_SASL_PASSWORD") | {"KAFKA_SASL_PASSWORD_FILE": "/nowhere"},
            "KAFKA_SASL_PASSWORD_FILE='/nowhere' cannot be read: No such file",
        ),
        (
            without(SCRAM, "KAFKA_SASL_PASSWORD") | {"KAFKA_SASL_PASSWORD_FILE": "/dev/null"},
            "KAFKA_SASL_PASSWORD_FILE='/dev/null' is empty",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_INSECURE_SKIP_HOSTNAME_CHECK": "perhaps"},
            "KAFKA_SSL_INSECURE_SKIP_HOSTNAME_CHECK='perhaps': .*true or false",
        ),
    ],
)
def test_a_bad_combination_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        arguments(monkeypatch, settings)
    assert HIDDEN not in str(refused.value)


def test_secrets_cannot_be_flags_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SCRAM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings, ["--kafka-sasl-password=x"])
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings, ["--help"])
    printed = capsys.readouterr()
    settings = load_settings(ServiceSettings, [])
    shown = [printed.out, printed.err, repr(settings), repr(settings.kafka), repr(KafkaSecuritySettings())]
    assert not any(HIDDEN in text for text in shown)
    assert "--kafka-sasl-password" not in printed.out
