"""How long anything may take, in one place, since the figures depend on one another.

A crashed replica is noticed after ``SESSION_TIMEOUT_MS``; its partitions are worked again right after. Heartbeats go
out three times as often, as Kafka's documentation advises. A transaction that nobody ends is aborted by its
coordinator after ``TRANSACTION_TIMEOUT_MS``, which bounds how long a reader of committed records can be held up. That
is longer than the session, so that a replica which merely pauses is not robbed of its transaction before its partition.
"""

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 3_000
TRANSACTION_TIMEOUT_MS = 15_000

# Fenced, a replica that has lost its place in the group learns of it with its next heartbeat. One that has not, takes the
# partition back after this: whoever fenced it had lost its own place.
FENCED_WAIT_S = 1.5 * HEARTBEAT_INTERVAL_MS / 1000

# A rebalance waits for every member to hand over. That takes three times CLOSE_TIMEOUT_S at most: once for the commit
# under way, and half of it for each step of ending the transaction and giving up the producer.
REBALANCE_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_S = 4.0

# Past this the coordinator has aborted the transaction, so waiting longer cannot succeed.
COMMIT_TIMEOUT_S = TRANSACTION_TIMEOUT_MS / 1000 + 5.0

# aiokafka counts the time without a call to getmany(), and past this limit leaves the group and does not join it again
# before the next call. A replica without partitions makes none, nor does one whose workers wait for the broker.
NO_MAX_POLL_INTERVAL_MS = 10**15

# A long poll's length: the broker confirms an idle partition's end this often.
FETCH_MAX_WAIT_MS = 500

# How often an idle partition's logic gets to look at the clock.
TICK_S = 0.25

# No progress for this long while there is work, or no word from the broker: the service calls itself unhealthy.
HEALTHY_FOR_S = 30.0

# Receiving nothing for this long from a broker that answers: only a restart helps (aiokafka #1154).
STUCK_AFTER_S = 90.0
