"""The generator's settings, and the parsers of their values."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from libs.events.dead_letters import Reason
from libs.runtime.service.settings import ServiceSettings
from services.generator.faults import KINDS
from services.generator.traffic import RateRange

_HIGHEST_RATE = 100_000
_TEN_YEARS_S = 315_360_000


def parse_rate(text: str) -> RateRange:
    """``50`` or ``10-50``; raises ``ValueError`` saying what is allowed."""
    low, dash, high = text.partition("-")
    try:
        rate = RateRange(float(low), float(high if dash else low))
    except ValueError:
        raise ValueError("not a number, nor two joined by a hyphen") from None
    if not 0 < rate.lowest <= rate.highest <= _HIGHEST_RATE:
        raise ValueError(f"must be above 0, at most {_HIGHEST_RATE}, the lower one first")
    return rate


def parse_faults(text: str) -> Mapping[Reason, float]:
    """The share of faulty orders by kind: an empty text, one share for all kinds together, or ``kind=share,...``."""
    if not text:
        return {}
    try:
        pairs = [_kind_and_share(part) for part in text.split(",")] if "=" in text else _evenly(float(text))
    except ValueError:
        raise ValueError(f"neither a share nor kind=share,...; the kinds are {', '.join(KINDS)}") from None
    shares = dict(pairs)
    if len(shares) < len(pairs):
        raise ValueError("each kind may be named once")
    if not (min(shares.values()) >= 0 and round(sum(shares.values()), 9) <= 1):
        raise ValueError("each share must be 0 or more, all together at most 1")
    return shares


def _kind_and_share(part: str) -> tuple[Reason, float]:
    kind, _, share = part.partition("=")
    reason = Reason(kind.strip())
    if reason not in KINDS:
        raise ValueError(f"{reason} is not a kind of fault")
    return reason, float(share)


def _evenly(share: float) -> list[tuple[Reason, float]]:
    return [(kind, share / len(KINDS)) for kind in KINDS]


def _readable_by(parse: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


class GeneratorSettings(ServiceSettings):
    """Sends realistic orders to `orders`."""

    generator_rate: Annotated[str, _readable_by(parse_rate)] = Field(
        "10-50", description="orders a second: one number, or lowest-highest for a daily curve with bursts"
    )
    generator_count: int | None = Field(
        None, ge=1, description="stop after this many orders, faulty ones included; 1 or more; default: never stop"
    )
    generator_restart: Literal["unless-stopped", "always", "on-failure", "no"] | None = Field(
        None,
        description="restart policy of its container; where that would start it again after GENERATOR_COUNT orders, it waits"
        " to be stopped",
    )
    generator_seed: int | None = Field(
        None, description="same seed, same orders; a whole number; default: a random one, which is logged"
    )
    generator_faults: Annotated[str, _readable_by(parse_faults)] = Field(
        "",
        description="share of faulty orders, 0 to 1: 0.01 is divided among all kinds, malformed=0.005,unknown_product=0.01"
        " chooses; default: none",
    )
    generator_backfill_seconds: int = Field(
        0,
        ge=0,
        le=_TEN_YEARS_S,
        description="start this many seconds in the past and catch up as fast as the broker takes orders; 0 to ten years",
    )
    generator_buffer: int = Field(
        20_000, ge=1, le=10_000_000, description="the most orders that wait for the broker's acknowledgement; 1 or more"
    )
