"""The transactional ids of the pipeline's own producers."""

from dead_letters.replay import TRANSACTIONAL_ID
from libs.events.topics import STAGES
from libs.runtime.transactions.transactional_ids import StageTransactionalIds


def is_own(transactional_id: str, prefix: str) -> bool:
    """Whether the id is of a stage or of a replay of dead letters, in the pipeline of the ``TOPIC_PREFIX``.

    Each of their producers ends with its first aborted transaction. So if the last one was committed, all of them were. Another
    producer's last transaction does not show how an earlier one ended.
    """
    is_of_stage = any(StageTransactionalIds(prefix, stage).owns(transactional_id) for stage in STAGES)
    return is_of_stage or transactional_id == prefix + TRANSACTIONAL_ID
