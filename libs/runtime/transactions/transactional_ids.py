"""The transactional ids of a stage: one for each attempt of each member of each generation.

No two producers share an id, so a late request of one cannot act on a transaction of another.
"""

from itertools import count

from libs.runtime.kafka_client.group_member import GroupMember


class StageTransactionalIds:
    """Creates ids ``{prefix}{stage}-{generation}-{member id}-{attempt}``, and parses their generation."""

    def __init__(self, topic_prefix: str, stage: str) -> None:
        self._begin = f"{topic_prefix}{stage}-"
        self._attempts = count()

    def next_for(self, member: GroupMember) -> str:
        """An id that this process has not used before."""
        return f"{self._begin}{member.generation}-{member.member_id}-{next(self._attempts)}"

    def owns(self, transactional_id: str) -> bool:
        """Whether the id belongs to this stage."""
        return self._generation_of(transactional_id) is not None

    def is_before(self, transactional_id: str, generation: int) -> bool:
        """Whether the id belongs to this stage and a generation before ``generation``."""
        its_generation = self._generation_of(transactional_id)
        return its_generation is not None and its_generation < generation

    def _generation_of(self, transactional_id: str) -> int | None:
        if not transactional_id.startswith(self._begin):
            return None
        generation, _, rest = transactional_id.removeprefix(self._begin).partition("-")
        return int(generation) if generation.isdecimal() and rest else None
