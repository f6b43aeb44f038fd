"""Shows the effect of the late first copy of a request that aiokafka has sent again after its connection broke.

    python late_requests.py localhost:9092

Needs aiokafka 0.14.0 and a broker on which it may create a topic. ``connection_breaks`` simulates the network: it takes the
bytes of one request out of aiokafka's connection and breaks that connection. ``arrive_late`` sends the same bytes to the
broker later.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

END_TXN, TXN_OFFSET_COMMIT = 26, 28
Connection: Any = AIOKafkaConnection


@contextmanager
def connection_breaks(api_key: int) -> Iterator[bytearray]:
    """Delay the next request of this kind in the network, and break its connection; yields its bytes."""
    stuck = bytearray()
    send = Connection.send

    def send_or_break(self: Any, request: Any, expect_response: bool = True) -> Any:
        if api_key != request.API_KEY or stuck:
            return send(self, request, expect_response)
        writer = self._writer
        writer.write = stuck.extend
        answer = send(self, request, expect_response)
        writer.transport.abort()
        return answer

    Connection.send = send_or_break
    try:
        yield stuck
    finally:
        Connection.send = send


async def arrive_late(broker: str, stuck: bytearray) -> None:
    """Deliver the delayed request."""
    host, _, port = broker.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(stuck)
    answer = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
    writer.close()
    error = int.from_bytes(answer[-2:], "big", signed=True)  # of both requests' version 0 the last field
    print(f"  the first copy arrives, the broker answers with error code {error}")


async def late_end_txn(broker: str, topic: str) -> None:
    """Show that a record is committed that the application has aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=f"{topic}-producer")
    await producer.start()
    with connection_breaks(END_TXN) as stuck:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"of the first transaction, committed")
    print("  the first transaction is committed: EndTxn was sent twice, the second copy was answered")
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"of the second transaction, to be aborted")
    await arrive_late(broker, stuck)
    try:
        await producer.abort_transaction()
        print("  abort_transaction() has returned")
    except KafkaError as error:
        print(f"  abort_transaction() raised {error!r}")
    await producer.stop()

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    for records in (await consumer.getmany(timeout_ms=5000)).values():
        for record in records:
            print(f"  a read_committed consumer reads: {record.value!r}")
    await consumer.stop()


async def late_txn_offset_commit(broker: str, topic: str) -> None:
    """Show that a group's committed offset is not that of the last committed transaction."""
    group, partition = f"{topic}-group", TopicPartition(topic, 0)
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=f"{topic}-producer-2")
    await producer.start()
    with connection_breaks(TXN_OFFSET_COMMIT) as stuck:
        async with producer.transaction():
            await producer.send_offsets_to_transaction({partition: 100}, group)
    print("  the first transaction is committed, with offset 100: TxnOffsetCommit was sent twice")
    async with producer.transaction():
        await producer.send_offsets_to_transaction({partition: 200}, group)
        await arrive_late(broker, stuck)
    print("  the second transaction is committed, with offset 200")
    await producer.stop()

    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
    await consumer.start()
    print(f"  the group's committed offset is {await consumer.committed(partition)}")
    await consumer.stop()


async def main(broker: str) -> None:
    """Both scenarios, on a topic of their own."""
    topic = f"late-requests-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    await asyncio.sleep(1)
    for scenario in (late_end_txn, late_txn_offset_commit):
        print(f"{scenario.__name__}: {scenario.__doc__}")
        await scenario(broker, topic)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
