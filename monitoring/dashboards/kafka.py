"""Dashboard *Kafka*: topics and groups as the broker reports them, also while a service is down."""

from monitoring.dashboards.grafana import Row, choice, dashboard, lines

# The series may exist twice, from kafka-exporter and from the live page: `max` counts them once.
_LAG = 'max by (consumergroup, topic, partition) (clamp_min(kafka_consumergroup_lag{topic=~"$topic"}, 0))'
_OFFSETS = 'max by (topic, partition) (kafka_topic_partition_current_offset{topic=~"$topic"})'
_OLDEST = 'max by (topic, partition) (kafka_topic_partition_oldest_offset{topic=~"$topic"})'
_WRITTEN = 'max by (topic, partition) (rate(kafka_topic_partition_current_offset{topic=~"$topic"}[$__rate_interval]))'
_COMMITTED = (
    "max by (consumergroup, topic, partition) "
    '(rate(kafka_consumergroup_current_offset{topic=~"$topic"}[$__rate_interval]))'
)
_MEMBERS = "max by (consumergroup) (kafka_consumergroup_members)"

KAFKA = dashboard(
    "pipeline-kafka",
    "Kafka",
    "Lag, offsets and members as the broker sees them: known also when a consumer is dead.",
    [
        Row(
            "Consumer groups",
            8,
            [
                lines(
                    "Lag by group",
                    {"{{consumergroup}}": f"sum by (consumergroup) ({_LAG})"},
                    "short",
                    "Records that the group has still to read. kafka-exporter counts what stands in a transaction under "
                    "way, too.",
                    limit=100,
                ),
                lines(
                    "Behind by",
                    {"{{consumergroup}}": 'consumergroup_topic:kafka_lag:seconds{topic=~"$topic"} < Inf'},
                    "s",
                    "How long the topic took to grow by as much as the group is behind.",
                    limit=30,
                ),
                lines(
                    "Members",
                    {"{{consumergroup}}": _MEMBERS},
                    "short",
                    "Replicas that the broker counts to the group; a killed one for ten seconds more.",
                ),
            ],
        ),
        Row(
            "Partitions",
            8,
            [
                lines(
                    "Lag by partition",
                    {"{{consumergroup}} {{partition}}": _LAG},
                    "short",
                    "One partition far above the others: look at the replica that owns it.",
                ),
                lines(
                    "Committed by group",
                    {"{{consumergroup}}": f"sum by (consumergroup) ({_COMMITTED})"},
                    "cps",
                    "How fast the groups' offsets move.",
                ),
            ],
        ),
        Row(
            "Topics",
            8,
            [
                lines(
                    "Written by topic",
                    {"{{topic}}": f"sum by (topic) ({_WRITTEN})"},
                    "wps",
                    "Offsets a second: records, and the ends of transactions.",
                ),
                lines(
                    "End offsets",
                    {"{{topic}} {{partition}}": _OFFSETS},
                    "short",
                    "Where the next record goes. A fall means that the topic was recreated.",
                ),
                lines(
                    "Kept",
                    {"{{topic}}": f"sum by (topic) ({_OFFSETS} - {_OLDEST})"},
                    "short",
                    "Offsets from the oldest record kept to the end.",
                ),
            ],
        ),
    ],
    [choice("topic", "Topic", "label_values(kafka_topic_partition_current_offset, topic)")],
)
