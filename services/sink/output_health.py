"""An output's own signs of life, so that `/health` names the output that stands."""

from libs.runtime.service.health import Health


class OutputHealth:
    """Signs of life of the output ``kind``: the broker answers, what is written is safe, another sink writes it."""

    def __init__(self, health: Health, kind: str) -> None:
        self._health = health
        self._connected, self._written, self._standby = (
            f"{kind} {sign}" for sign in ("connected", "written", "standby")
        )

    def connected(self) -> None:
        """The broker has answered."""
        self._health.beat(self._connected)

    def written(self) -> None:
        """All that was read is safe in the output."""
        self._health.beat(self._written)

    def standing_by(self) -> None:
        """Another sink writes the output; this one has nothing else to do than to wait."""
        self._health.forget(self._connected)
        self._health.forget(self._written)
        self.beat_standby()

    def beat_standby(self) -> None:
        self._health.beat(self._standby)

    def taking_over(self) -> None:
        self._health.forget(self._standby)
        self.connected()
