"""Fuzzes the input at a service's start: flags, environment, and the processor's catalogue."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson

from libs.runtime.errors import SettingsError
from libs.runtime.service.settings import ServiceSettings, load_settings
from services.analytics.analytics_settings import AnalyticsSettings
from services.generator.generator_settings import GeneratorSettings
from services.processor.catalogue import Product, enrich, load_catalogue
from services.processor.processor_settings import ProcessorSettings
from services.sink.sink_settings import SinkSettings
from tests.fuzz.mutations import Mutator, pick
from tests.fuzz.pools import NUMBERS, TEXTS
from tests.fuzz.target import Tally
from tests.unit.driver import order
from verification.strict_json import parse_object

_CLASSES: tuple[type[ServiceSettings], ...] = (ProcessorSettings, AnalyticsSettings, SinkSettings, GeneratorSettings)
_SOUND = (
    "",
    "1",
    "50",
    "10-50",
    "0.5",
    "json",
    "INFO",
    "localhost:9092",
    "a:1,b:2",
    "true",
    "/nowhere",
    "null",
    "None",
)
_ODD = (
    *(
        "a..b:1",
        "x" * 70 + ":1",
        ":1",
        "a:",
        "a:99999",
        "a:-1",
        "a:1,",
        "[::1]:1",
        "\u00fc:1",
        "a:\u0661",
        "a b:1",
        ".",
    ),
    *("50-10", "nan-nan", "1-inf", "malformed=nan", "malformed=0.5,malformed=0.5", "=", "malformed", "0.1=malformed"),
    *("nan", "inf", "-inf", "\udcff", "a\x00b", "a\nb", "\ud800", "--help-me", "-", "--", "/", "x" * 5000, "{}", "[1]"),
)


class Settings:
    """Flags and variables with any text: the result is settings, or one error that names the bad one."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def batch(self) -> Tally:
        random = self._random
        settings_class = pick(random, _CLASSES)
        names = list(settings_class.model_fields)
        values = {pick(random, names): self._text() for _ in range(random.randrange(1, 4))}
        as_flags = {name for name in values if random.random() < 0.5}
        flags = [f"--{name.replace('_', '-')}={values[name]}" for name in as_flags]
        with _environment({name.upper(): text for name, text in values.items() if name not in as_flags}):
            try:
                settings = load_settings(settings_class, flags)
            except SettingsError as error:
                assert any(name.upper() in str(error) for name in values), f"{error} for {values}"
                assert len(str(error)) < 2000 * len(values)
                return Tally(0, 1)
            except SystemExit as error:
                assert error.code == 2
                return Tally(0, 1)
        for server in settings.kafka_bootstrap_servers.split(","):
            host, _, port = server.rpartition(":")
            assert host.encode("idna")
            assert 0 <= int(port) <= 65535
        return Tally(1, 0)

    def _text(self) -> str:
        return pick(self._random, pick(self._random, (_SOUND, _ODD, NUMBERS, TEXTS)))


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set ``variables``, as far as an environment can contain them, and suppress argparse's output."""
    before = dict(os.environ)
    try:
        for name, text in variables.items():
            with contextlib.suppress(ValueError):  # a NUL, or half a surrogate pair
                os.environ[name] = text
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Catalogues:
    """A catalogue file: either rejected with a ``ValueError``, or the orders of its products are enriched correctly."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._mutator = Mutator(random, ("prod-2", "x" * 65))
        self._entries = Mutator(random, ("amount", "timestamp", "rank"))

    def batch(self) -> Tally:
        entry = self._entries.mutate({"product_name": '"Lamp"', "category": '"Home"', "weight": "1.50"}) or b""
        fields = {"prod-1": entry.decode("utf-8", "surrogateescape"), "prod-3": '{"product_name":"a","category":"b"}'}
        data = self._mutator.mutate(fields) or b""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            try:
                catalogue = load_catalogue(Path(file.name))
            except ValueError:
                return Tally(0, 1)
        for product_id, product in catalogue.items():
            value = orjson.dumps(order(product_id=product_id))
            _check_enriched(value, enrich(value, orjson.loads(value), product), product)
        return Tally(1, 0)


def _check_enriched(value: bytes, enriched: bytes, product: Product) -> None:
    fields, own = parse_object(enriched), parse_object(value)
    assert {name: fields[name] for name in own} == own
    assert fields.keys() - own.keys() == product.fields.keys()
    for name in product.fields:
        assert orjson.loads(enriched)[name] == product.fields[name]
