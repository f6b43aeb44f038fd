"""Dashboard *Service internals*: the metrics of each replica."""

from monitoring.dashboards.grafana import Row, choice, dashboard, lines
from monitoring.dashboards.promql import quantile

_MEMORY_LIMIT_BYTES = 256 * 1024 * 1024  # of a service, in docker-compose.yml
_SERVICE = '{job=~"$service"}'
_RATE = "[$__rate_interval]"

_WORK = Row(
    "Work",
    8,
    [
        lines(
            "Taken in by replica",
            {
                "{{job}} {{instance}}": f"sum by (job, instance) (rate(pipeline_records_consumed_total{_SERVICE}{_RATE}))"
            },
            "recps",
            "Input records of committed transactions.",
        ),
        lines(
            "Written by topic",
            {"{{job}} {{topic}}": f"sum by (job, topic) (rate(pipeline_records_produced_total{_SERVICE}{_RATE}))"},
            "recps",
            "Records of committed transactions, watermarks and changelog included.",
        ),
        lines(
            "Lag by partition",
            {"{{job}} {{partition}}": f"max by (job, partition) (pipeline_consumer_lag_records{_SERVICE})"},
            "short",
            "As the replica sees it that works the partition. Without one there is no line: see Kafka.",
            alert="LagGrowing",
        ),
    ],
)
_DURATION = f"pipeline_transaction_duration_seconds_bucket{_SERVICE}"
_RECORDS = f"pipeline_transaction_records_bucket{_SERVICE}"
_TRANSACTIONS = Row(
    "Transactions",
    8,
    [
        lines(
            "Transactions by outcome",
            {"{{job}} {{outcome}}": f"sum by (job, outcome) (rate(pipeline_transactions_total{_SERVICE}{_RATE}))"},
            "ops",
            "All but the committed ones are aborted, and their records processed again.",
            alert="TransactionsAborting",
        ),
        lines(
            "Transaction time",
            {f"{{{{job}}}} {share} of 100": quantile(share / 100, _DURATION, "job") for share in (50, 99)},
            "s",
            "From the first produce request to the commit.",
        ),
        lines(
            "Records in a transaction",
            {f"{{{{job}}}} {share} of 100": quantile(share / 100, _RECORDS, "job") for share in (50, 99)},
            "short",
            "How many input records a transaction takes in: few at low traffic, many in a backlog.",
        ),
    ],
)
_GROUP = Row(
    "Retries and rebalances",
    8,
    [
        lines(
            "Retries by reason",
            {"{{job}} {{reason}}": f"sum by (job, reason) (increase(pipeline_retries_total{_SERVICE}[5m]))"},
            "short",
            "Fresh starts from the last commit, in five minutes.",
            alert="TransactionsAborting",
        ),
        lines(
            "Rebalances",
            {"{{job}} {{instance}}": f"sum by (job, instance) (increase(pipeline_rebalances_total{_SERVICE}[5m]))"},
            "short",
            "Times that the group gave a replica its partitions, in five minutes.",
        ),
        lines(
            "Partitions by replica",
            {"{{job}} {{instance}}": f"pipeline_assigned_partitions{_SERVICE}"},
            "short",
            "Partitions that the replica works; 0 is a replica too many, or one that waits.",
        ),
    ],
)
_WATERMARK = 'pipeline_watermark_timestamp_seconds{{job="{job}"}}'
_EVENT_TIME = Row(
    "Event time and state",
    8,
    [
        lines(
            "Watermark age by source",
            {"source {{partition}}": f"time() - max by (partition) ({_WATERMARK.format(job='processor')})"},
            "s",
            "How far event time trails the clock in each partition of orders. Windows wait for the slowest.",
            alert="WatermarkStuck",
        ),
        lines(
            "Watermark age in analytics",
            {"partition {{partition}}": f"time() - max by (partition) ({_WATERMARK.format(job='analytics')})"},
            "s",
            "How far the slowest source has come, as known in each partition of processed-orders. It grows while the pipeline is idle.",
            alert="WatermarkStuck",
        ),
        lines(
            "State",
            {"partition {{partition}}": "max by (partition) (pipeline_state_entries)"},
            "short",
            "Open windows in memory, one for each product and window.",
        ),
        lines(
            "Restore time",
            {
                "{{instance}}": "pipeline_state_restore_seconds_sum / (pipeline_state_restore_seconds_count > 0)",
            },
            "s",
            "Mean time to restore the state of all of a replica's partitions from the changelog, since the replica's start.",
        ),
    ],
)
_SINK = Row(
    "Generator and sink",
    8,
    [
        lines(
            "Generator's buffer",
            {"buffered": "sum(pipeline_buffered_orders)", "limit": "sum(pipeline_buffer_limit_orders)"},
            "short",
            "Orders that Kafka has not confirmed yet. At the limit the generator waits.",
        ),
        lines(
            "Write time",
            {
                f"{share} of 100": quantile(share / 100, "pipeline_write_duration_seconds_bucket", span="2m")
                for share in (50, 99)
            },
            "s",
            "Time until metrics are safe: lines and checkpoint on the disk, or a database transaction.",
            alert="SinkBehind",
        ),
        lines(
            "Outputs",
            {"{{output}}": "max by (output) (pipeline_output_bytes)"},
            "bytes",
            "Length of the metrics file, and what the metrics take in the database.",
        ),
        lines(
            "Checkpoint age",
            {"{{output}}": "time() - max by (output) (pipeline_checkpoint_timestamp_seconds > 0)"},
            "s",
            "Since the sink last wrote something. It grows to a window's length, and longer without orders.",
            alert="SinkBehind",
        ),
    ],
)
_SINKS = Row(
    "",
    6,
    [
        lines(
            "Standby",
            {"{{instance}} {{output}}": "pipeline_standby"},
            "none",
            "1 while another sink writes the output, and this one waits to take over.",
        ),
        lines(
            "Foreign records",
            {"left out": "sum(increase(pipeline_foreign_records_total[5m]))"},
            "short",
            "Records of product-metrics that are no metric, in five minutes: another writer's. They stay in the topic.",
        ),
    ],
)
_PROCESSES = Row(
    "Processes",
    8,
    [
        lines(
            "CPU",
            {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{_SERVICE}{_RATE})"},
            "percentunit",
            "Of one core, which is all that a replica can use.",
            limit=1,
        ),
        lines(
            "Memory",
            {"{{job}} {{instance}}": f"process_resident_memory_bytes{_SERVICE}"},
            "bytes",
            "Resident; at the dashed line the container would be killed.",
            limit=_MEMORY_LIMIT_BYTES,
        ),
        lines(
            "Healthy",
            {"{{job}} {{instance}}": f"pipeline_healthy{_SERVICE}"},
            "none",
            "1 while /health says so.",
            alert="ServiceDown",
        ),
        lines(
            "Running for",
            {"{{job}} {{instance}}": f"time() - process_start_time_seconds{_SERVICE}"},
            "s",
            "A fall is a restart.",
        ),
    ],
)

INTERNALS = dashboard(
    "pipeline-internals",
    "Service internals",
    "What goes on in each replica: transactions, retries, event time, state, CPU and memory.",
    [_WORK, _TRANSACTIONS, _GROUP, _EVENT_TIME, _SINK, _SINKS, _PROCESSES],
    [choice("service", "Service", "label_values(pipeline_healthy, job)")],
)
