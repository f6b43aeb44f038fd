"""aiokafka's clients, with login by the settings and without automatic topic creation.

Each is created with ``**client_arguments(kafka)``, and connects by ``kafka_security.connecting.connect``.

A broker with ``auto.create.topics.enable=true`` creates each topic that a metadata request names, unless the request says
``allow_auto_topic_creation=false`` (KIP-4). aiokafka 0.14 never sets it, and has no setting for it. A topic that is created
this way has the broker's settings instead of the declared ones: a mistyped prefix leaves topics behind, and a topic that
was deleted on purpose is created again with one partition. So every module gets its clients from here.

Compaction can leave a batch of transaction markers empty. aiokafka 0.14 raises ``KafkaError`` at each read of such a batch, Java's
client did until KAFKA-7467.

Private parts of aiokafka that are patched: the name ``MetadataRequest`` in ``aiokafka.client`` (used by all clients) and in
``aiokafka.admin.client``, and a method of ``PartitionRecords``.
"""

from typing import Any

import aiokafka.admin.client
import aiokafka.client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from libs.runtime.kafka_security import connecting
from libs.runtime.kafka_security.security import Kafka, KafkaAddress, client_arguments

__all__ = [
    "AIOKafkaAdminClient",
    "AIOKafkaClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "Kafka",
    "KafkaAddress",
    "client_arguments",
]


class _ReadOnlyMetadataRequest(MetadataRequest):
    def __init__(self, topics: list[str] | None = None, _: Any = None) -> None:
        super().__init__(topics, allow_auto_topic_creation=False)


for module in (aiokafka.client, aiokafka.admin.client):
    vars(module)["MetadataRequest"] = _ReadOnlyMetadataRequest

_contains_abort_marker = vars(PartitionRecords)["_contains_abort_marker"]


def _has_abort_marker(records: PartitionRecords, batch: Any) -> bool:
    try:
        return bool(_contains_abort_marker(records, batch))
    except KafkaError:  # the batch is empty
        return False


PartitionRecords._contains_abort_marker = _has_abort_marker  # type: ignore[method-assign]  # noqa: SLF001 - see above

connecting.install()
