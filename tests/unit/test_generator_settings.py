"""The generator's settings: parsing, and errors for invalid values."""

import pytest

from libs.events.dead_letters import Reason
from libs.runtime.errors import SettingsError
from libs.runtime.service.settings import load_settings
from services.generator.faults import KINDS
from services.generator.generator_settings import GeneratorSettings, parse_faults, parse_rate
from services.generator.traffic import RateRange


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GeneratorSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    settings = load_settings(GeneratorSettings, [])
    assert parse_rate(settings.generator_rate) == RateRange(10, 50)
    assert parse_faults(settings.generator_faults) == {}
    assert settings.generator_count is None
    assert settings.generator_seed is None
    assert settings.generator_backfill_seconds == 0


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_RATE", "5")
    monkeypatch.setenv("GENERATOR_SEED", "7")
    settings = load_settings(GeneratorSettings, ["--generator-rate", "20-30"])
    assert parse_rate(settings.generator_rate) == RateRange(20, 30)
    assert settings.generator_seed == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50", RateRange(50, 50)), ("10-50", RateRange(10, 50)), ("0.5 - 2", RateRange(0.5, 2))],
)
def test_valid_rates(text: str, expected: RateRange) -> None:
    assert parse_rate(text) == expected


def test_a_single_share_is_spread_over_all_kinds() -> None:
    assert parse_faults("0.01") == dict.fromkeys(KINDS, 0.00125)


def test_shares_by_kind() -> None:
    shares = parse_faults("malformed=0.005, unknown_product=0.01")
    assert shares == {Reason.MALFORMED: 0.005, Reason.UNKNOWN_PRODUCT: 0.01}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("GENERATOR_RATE", "fast", "='fast': not a number"),
        ("GENERATOR_RATE", "50-10", "the lower one first"),
        ("GENERATOR_RATE", "0", "above 0"),
        ("GENERATOR_RATE", "-5", "not a number"),
        ("GENERATOR_RATE", "nan", "above 0"),
        ("GENERATOR_RATE", "1-1e9", "at most 100000"),
        ("GENERATOR_COUNT", "0", "greater than or equal to 1"),
        ("GENERATOR_SEED", "abc", "valid integer"),
        ("GENERATOR_FAULTS", "1.5", "at most 1"),
        ("GENERATOR_FAULTS", "-0.1", "0 or more"),
        ("GENERATOR_FAULTS", "nan", "0 or more"),
        ("GENERATOR_FAULTS", "bad", "kind=share"),
        ("GENERATOR_FAULTS", "bogus=0.1", "future_timestamp"),
        ("GENERATOR_FAULTS", "malformed=0.6,missing_field=0.6", "all together at most 1"),
        ("GENERATOR_FAULTS", "malformed=0.1,malformed=0.1", "once"),
        ("GENERATOR_BACKFILL_SECONDS", "-1", "greater than or equal to 0"),
        ("GENERATOR_BUFFER", "0", "greater than or equal to 1"),
    ],
)
def test_a_bad_value_names_setting_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(GeneratorSettings, [])
    message = str(caught.value)
    assert message.startswith(f"{name}='{value}': ")
    assert allowed in message


def test_an_unknown_kind_of_fault_is_rejected() -> None:
    with pytest.raises(ValueError, match="the kinds are malformed") as refused:
        parse_faults("too_large=0.1")
    assert "too_large" not in str(refused.value)
