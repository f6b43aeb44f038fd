"""A password or another secret, as a setting or in a file."""

from dataclasses import dataclass, field
from pathlib import Path

from libs.runtime.errors import PipelineError


@dataclass(frozen=True)
class Secret:
    """``value``, or the first line of ``file``, which is read each time because it may be replaced.

    Args:
        setting: the setting's name, for error messages.
    """

    setting: str
    value: str | None = field(default=None, repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The secret.

        Raises:
            ValueError: the file cannot be read, or its first line is empty.
        """
        if self.file is None:
            return self.value or ""
        try:
            secret = self.file.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.setting}_FILE={str(self.file)!r} cannot be read: {_reason(error)}") from None
        if not secret:
            raise ValueError(f"{self.setting}_FILE={str(self.file)!r} is empty; the secret is its first line")
        return secret


def read_secret_file(setting: str, file: Path) -> str:
    """The first line of ``file``, which the setting ``setting``_FILE names.

    Raises:
        PipelineError: the file cannot be read, or its first line is empty.
    """
    try:
        return Secret(setting, file=file).read()
    except ValueError as error:
        raise PipelineError(str(error), advice="write the password into its first line") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    # The text of a UnicodeDecodeError contains bytes of the secret.
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is no UTF-8"
