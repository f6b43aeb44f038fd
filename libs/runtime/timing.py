"""How long anything may take, in one place, since the figures depend on one another.

What they promise, wherever a standby replica can take over or the service is started again:

- A crashed replica's partitions are worked again within ``SESSION_TIMEOUT_MS`` + 2 s.
- After a clean stop they are worked again within 1 s: the replica leaves its group, and the others learn of it with their
  next heartbeat. When a replica joins or leaves, all others hand over, too (eager rebalancing), and stand still for a
  heartbeat and a take-over at most. Where no order has come for ``IDLE_AFTER_S``, each of these takes up to twice
  ``IDLE_INTERVAL_S`` longer.
- A reader of committed records is held up for ``TRANSACTION_TIMEOUT_MS`` + 5 s at most, also when nobody takes over: that
  long, and as long as it takes to notice, the coordinator keeps the transaction of a replica that crashed in it. (The
  broker looks once a second: ``transaction.abort.timed.out.transaction.cleanup.interval.ms``.)

docs/decisions/0009-timeouts.md has the measurements behind the figures.
"""

# A pause of the machine or of the network that is shorter costs nothing. A longer one costs two rebalances.
SESSION_TIMEOUT_MS = 10_000

# Kafka advises a third of the session so that some may get lost. It is also how late the others hear that a replica has
# come or gone, which is what a rebalance mostly waits for.
HEARTBEAT_INTERVAL_MS = 250

# Longer than the session, so that a replica which merely pauses is not robbed of its transaction before its partition.
TRANSACTION_TIMEOUT_MS = 15_000

# A replica whose transaction was ended by a successor learns with its next heartbeat that it has lost its partitions. One
# whose transaction timed out still has them, and tries again after this.
FENCED_WAIT_S = 2 * HEARTBEAT_INTERVAL_MS / 1000

# A rebalance waits for every member to hand over. That takes three times CLOSE_TIMEOUT_S at most: once for the commit
# under way, and half of it for each step of ending the transaction and giving up the producer.
REBALANCE_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_S = 4.0

# Past this the coordinator has aborted the transaction, so waiting longer cannot succeed.
COMMIT_TIMEOUT_S = TRANSACTION_TIMEOUT_MS / 1000 + 5.0

# aiokafka counts the time without a call to getmany(), and past this limit leaves the group and does not join it again
# before the next call. A replica without partitions makes none, nor does one whose workers wait for the broker.
NO_MAX_POLL_INTERVAL_MS = 10**15

# Name look-up, TCP, TLS and login together, as in Kafka's own clients (socket.connection.setup.timeout.ms, KIP-601). aiokafka
# allows 40 s for each of them, and a client makes one connection at a time: a broker that is cut off holds up the others.
CONNECT_TIMEOUT_S = 10.0

# A long poll's length: the broker confirms an idle partition's end this often.
FETCH_MAX_WAIT_MS = 500

# How often an idle partition's logic gets to look at the clock.
TICK_S = 0.25

# A replica without work for this long asks and looks once in IDLE_INTERVAL_S: heartbeats, long polls, the clock. In the longer
# of them a replica that joins or leaves is noticed, and the connection's next request waits for a long poll to end.
IDLE_AFTER_S = 60.0
IDLE_INTERVAL_S = 2.0

# No progress for this long while there is work, or no word from the broker: the service calls itself unhealthy.
HEALTHY_FOR_S = 30.0

# The event loop has not turned for this long: it hangs, since no piece of work takes a tenth of that.
LOOP_ALIVE_FOR_S = 60.0

# Receiving nothing for this long from a broker that answers: only a restart helps (aiokafka #1154).
STUCK_AFTER_S = 90.0
