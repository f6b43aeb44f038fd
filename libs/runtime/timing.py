"""All timeouts and intervals in one place, since they depend on one another.

They guarantee the following, provided that a standby replica can take over or the service is restarted:

- A crashed replica's partitions are processed again within ``SESSION_TIMEOUT_MS`` + 2 s.
- After a clean stop they are processed again within 1 s: the replica leaves its group, and the others learn of it with their
  next heartbeat. When a replica joins or leaves, all others give up their partitions, too (eager rebalancing), and make no
  progress for a heartbeat and a take-over at most. If no order has come for ``IDLE_AFTER_S``, each of these takes up to twice
  ``IDLE_INTERVAL_S`` longer.
- A stage with state also restores it, in some 20 µs for each transaction that the changelog still has a marker of: seconds if many
  were committed within the changelog's ``delete.retention.ms``.
- A reader of committed records is blocked for ``TRANSACTION_TIMEOUT_MS`` + 5 s at most, also if no replica takes over: for so
  long the coordinator keeps the open transaction of a crashed replica. (The broker checks once a second:
  ``transaction.abort.timed.out.transaction.cleanup.interval.ms``.)

docs/decisions/0009-timeouts.md has the measurements behind the values.
"""

# A shorter pause of the machine or the network has no effect. A longer one causes two rebalances.
SESSION_TIMEOUT_MS = 10_000

# Kafka recommends a third of the session timeout, so that some heartbeats may get lost. The other replicas learn by a
# heartbeat that one has joined or left, and a rebalance mostly waits for that.
HEARTBEAT_INTERVAL_MS = 250

# Longer than the session, so that a replica that only pauses does not lose its transaction before its partition.
TRANSACTION_TIMEOUT_MS = 15_000

# A replica whose transaction was ended by a successor learns with its next heartbeat that it has lost its partitions. A
# replica whose transaction timed out still has them, and retries after this time.
FENCED_WAIT_S = 2 * HEARTBEAT_INTERVAL_MS / 1000

# A rebalance waits for every member to give up its partitions. That takes three times CLOSE_TIMEOUT_S at most: once for
# the commit in progress, and half of it for each step of ending the transaction and closing the producer.
REBALANCE_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_S = 4.0

# After this the coordinator has aborted the transaction, so waiting longer cannot succeed.
COMMIT_TIMEOUT_S = TRANSACTION_TIMEOUT_MS / 1000 + 5.0

# aiokafka measures the time between calls of getmany(). Beyond this limit it leaves the group, and rejoins at the next
# call. A replica without partitions makes no calls, nor does one whose worker waits for the broker.
NO_MAX_POLL_INTERVAL_MS = 10**15

# DNS look-up, TCP, TLS and login together, as in Kafka's own clients (socket.connection.setup.timeout.ms, KIP-601). aiokafka
# allows 40 s for each of them, and a client makes one connection at a time: an unreachable broker blocks the others.
CONNECT_TIMEOUT_S = 10.0

# A long poll's length: the broker confirms an idle partition's end this often.
FETCH_MAX_WAIT_MS = 500

# How often ``punctuate`` is called for an idle partition.
TICK_S = 0.25

# A replica without work for this long sends heartbeats, polls and punctuates once each IDLE_INTERVAL_S only. So it notices
# later that a replica has joined or left, and the next request on the connection waits for a long poll to end.
IDLE_AFTER_S = 60.0
IDLE_INTERVAL_S = 3.0

# Without progress for this long while there is work, or without a response of the broker, the service reports unhealthy.
HEALTHY_FOR_S = 30.0

# For so long an answer that records before a committed offset are gone may be outdated. Each attempt asks again with new metadata.
ANSWER_CONFIRMED_AFTER_S = 30.0

# An event loop that has run no callback for this long hangs: no step of the work takes a tenth of it.
LOOP_ALIVE_FOR_S = 60.0

# A consumer that receives nothing for this long from a responsive broker is stuck: only a restart helps (aiokafka #1154).
STUCK_AFTER_S = 90.0
