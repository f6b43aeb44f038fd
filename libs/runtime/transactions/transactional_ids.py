"""The transactional ids of a stage: one for each attempt of each member of each generation.

No two producers ever share an id, so no late request of one can act on a transaction of another.
"""

from itertools import count

from libs.runtime.exactly_once.group_member import GroupMember


class StageTransactionalIds:
    """Makes ids ``{prefix}{stage}-{generation}-{member id}-{attempt}``, and reads the generation out of them."""

    def __init__(self, topic_prefix: str, stage: str) -> None:
        self._begin = f"{topic_prefix}{stage}-"
        self._attempts = count()

    def next_for(self, member: GroupMember) -> str:
        """An id that this process has not used before."""
        return f"{self._begin}{member.generation}-{member.member_id}-{next(self._attempts)}"

    def is_before(self, transactional_id: str, generation: int) -> bool:
        """Whether it is one of this stage's, of a generation before ``generation``."""
        if not transactional_id.startswith(self._begin):
            return False
        its_generation, _, rest = transactional_id.removeprefix(self._begin).partition("-")
        return its_generation.isdecimal() and bool(rest) and int(its_generation) < generation
