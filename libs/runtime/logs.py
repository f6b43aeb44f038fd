"""Structured logs on standard error, one event a line: readable text on a terminal, JSON elsewhere."""

import logging
import re
import sys
from typing import Literal

import orjson
import structlog

# Repetitions are bounded or possessive, so that matching takes linear time. A quote is part of a password if more of it
# follows, and ends a text if a delimiter does. A password with a blank is masked in URLs only, unless it starts like a port.
_LOGINS = re.compile(
    r"""
      (?P<url> :// [^\s:/@"'\[]* : ) (?= [^@]{0,1000}+ @ )  # scheme://user:it@host
      (?: [^\s"']{1,1000} (?=@)
        | (?! \d{1,5} \b (?!["']\w) ) (?: [^\n"'@] | ["'](?![\s,:;)}\]]) ){1,1000}+ (?: @ [^\s"'@]{1,1000} ){0,5} (?=@)
      )
    | (?P<login> (?<![\w.+-]) [\w.+-]++ : (?!//) ) (?= [^@]{0,1000}+ @ )  # user:it@host
      [^\s"'@,] (?: [^\s"'@,] | ["'](?=[\w@]) ){0,1000}+ (?=@)
    """,
    re.VERBOSE,
)
_NAMED = re.compile(  # password=it, password='it', "password":"it", also in PASSWORD_FILE, where it may be by mistake
    r"""
      (?P<name> (?: password | passwd | secret | token | api_?key ) \w{0,20} (?: \s*[=:]\s* | \\?["']\s*:\s* ) )
      (?: (?P<quote> \\?["'] ) .*? (?P=quote) (?!\w)
        | (?<!["']:) ["']? [^\s&;,"'\\] (?: [^\s&;,"'\\] | \\?["'](?=\w) )*+
      )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MAX_VALUE_CHARS = 200


def without_secrets(text: str) -> str:
    """``text`` with masked passwords: in URLs and logins, and values that are named as passwords."""
    if "@" in text:
        text = _LOGINS.sub(lambda found: f"{found['url'] or found['login']}***", text)
    return _NAMED.sub(lambda found: f"{found['name']}{found['quote'] or ''}***{found['quote'] or ''}", text)


def shown_setting(name: str, value: object) -> str:
    """``name=value`` for an error message, masked and cut; ``name`` alone for a value with an @, such as a URL with a password."""
    return name if "@" in str(value) else f"{name}={without_secrets(repr(value))[:_MAX_VALUE_CHARS]}"


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks the finished line, so that secrets in error texts and stack traces are masked, too."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def configure_logging(service: str, level: str, log_format: Literal["json", "console"] | None) -> None:
    """Send structlog's events, and the standard library's (aiokafka), through one renderer."""
    on_terminal = sys.stderr.isatty()
    pretty = log_format == "console" or (log_format is None and on_terminal)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last: list[structlog.typing.Processor] = (
        # Where rich is installed, its stack traces would show local variables, and break lines within a password.
        [structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_to_json)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _MaskingFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # aiokafka logs every rebalance and reconnect at INFO, and each lost connection many times a second at ERROR. The
    # services log what matters of that themselves, once. At DEBUG aiokafka logs every request and response in full,
    # which would hide the services' own debug events.
    logging.getLogger("aiokafka").setLevel(logging.INFO if level == "debug" else logging.CRITICAL)
    structlog.contextvars.bind_contextvars(service=service)


def debugging() -> bool:
    """Whether debug events are logged: to be checked once a batch, before logging an event for each of its orders."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _to_json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
