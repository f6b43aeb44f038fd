"""An output's own heartbeats, so that `/health` names the output that makes no progress."""

from libs.runtime.service.health import Health


class OutputHealth:
    """Heartbeats of the output ``kind``: the broker responds, data has been written, or another sink writes it."""

    def __init__(self, health: Health, kind: str) -> None:
        self._health = health
        self._connected, self._written, self._standby = (
            f"{kind} {sign}" for sign in ("connected", "written", "standby")
        )

    def connected(self) -> None:
        """The broker has responded."""
        self._health.beat(self._connected)

    def written(self) -> None:
        """All records read so far are durable in the output."""
        self._health.beat(self._written)

    def standing_by(self) -> None:
        """Another sink writes the output; this one is a standby."""
        self._health.forget(self._connected)
        self._health.forget(self._written)
        self.beat_standby()

    def beat_standby(self) -> None:
        self._health.beat(self._standby)

    def taking_over(self) -> None:
        self._health.forget(self._standby)
        self.connected()
