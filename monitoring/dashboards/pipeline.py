"""Dashboard *Pipeline*: the business first, then the four stages from left to right."""

from monitoring.dashboards.grafana import FIRING_ALERTS, Json, Row, bars, dashboard, lines, stat
from monitoring.dashboards.promql import lag, per_minute, quantile

REVENUE = per_minute("pipeline_closed_revenue_dollars_total")
ORDERS = per_minute("pipeline_closed_orders_total")

_BUSINESS = [
    Row(
        "Business",
        4,
        [
            stat(
                "Revenue, last minute", f"sum({REVENUE})", "currencyUSD", "Of the windows that closed within a minute."
            ),
            stat("Orders, last minute", f"sum({ORDERS})", "locale", "In the windows that closed within a minute."),
            stat(
                "Average order",
                f"sum({REVENUE}) / (sum({ORDERS}) > 0)",
                "currencyUSD",
                "Revenue by orders, of the windows that closed within a minute.",
            ),
            stat(
                "Alerts",
                f"count({FIRING_ALERTS}) or vector(0)",
                "none",
                "Alerts that fire now. The dashboard Runbook says what to do about each.",
                (1,),
            ),
        ],
    ),
    Row(
        "",
        9,
        [
            bars(
                "Revenue by product and minute",
                {"{{product_id}}": REVENUE},
                "currencyUSD",
                "A bar is what the windows brought that closed in its minute: orders of the minute before.",
                every="1m",
            ),
            bars(
                "Orders by product and minute",
                {"{{product_id}}": ORDERS},
                "locale",
                "A bar is what the windows counted that closed in its minute: orders of the minute before.",
                every="1m",
            ),
        ],
    ),
]

_RATE = Row(
    "Generator → processor → analytics → sink",
    4,
    [
        stat(
            "Generator: sent",
            "sum(rate(pipeline_orders_sent_total[$__rate_interval]))",
            "recps",
            "Orders that Kafka has confirmed. Other senders than the generator are in none of its panels.",
        ),
        stat(
            "Processor: taken in",
            'sum(rate(pipeline_records_consumed_total{job="processor"}[$__rate_interval]))',
            "recps",
            "Orders read, valid or not.",
        ),
        stat(
            "Analytics: counted",
            'sum(rate(pipeline_orders_processed_total{job="analytics"}[$__rate_interval]))',
            "recps",
            "Orders counted into a window.",
        ),
        stat(
            "Sink: written in a minute",
            "max(sum by (output) (increase(pipeline_metrics_written_total[1m])))",
            "short",
            "Metrics in an output, the file or the database: one for each product and window.",
        ),
    ],
)

_LAG = Row(
    "",
    4,
    [
        stat(
            "Generator: buffered",
            "sum(pipeline_buffered_orders)",
            "short",
            "Orders that Kafka has not confirmed yet.",
            (100, 1000),
        ),
        *(
            stat(
                f"{group.capitalize()}: lag",
                lag(pattern),
                "short",
                "Records that wait, as the broker sees it: known also when no replica lives.",
                limits,
                alert,
            )
            for group, pattern, limits, alert in (
                ("processor", "processor", (1000, 10_000), "LagGrowing"),
                ("analytics", "analytics", (1000, 10_000), "LagGrowing"),
                ("sink", "sink(-database)?", (20, 100), "SinkBehind"),
            )
        ),
    ],
)

_ERRORS = Row(
    "",
    4,
    [
        stat(
            "Generator: delivery errors",
            "sum(increase(pipeline_delivery_errors_total[5m]))",
            "short",
            "Batches that could not be handed over at once, in five minutes.",
            (1, 10),
        ),
        stat(
            "Processor: dead letters",
            'sum(increase(pipeline_dead_letters_total{job="processor"}[5m]))'
            ' / sum(increase(pipeline_records_consumed_total{job="processor"}[5m]))',
            "percentunit",
            "Share of the orders of five minutes that were refused.",
            (0.03, 0.05),
            "DeadLettersAboveShare",
        ),
        stat(
            "Analytics: late",
            "sum(increase(pipeline_late_orders_total[5m])) / (sum(increase(pipeline_late_orders_total[5m]))"
            ' + sum(increase(pipeline_orders_processed_total{job="analytics"}[5m])))',
            "percentunit",
            "Share of the orders of five minutes whose window was closed already.",
            (0.005, 0.01),
            "LateOrders",
        ),
        stat(
            "Sink: retries",
            'sum(increase(pipeline_retries_total{job=~"sink(-database)?"}[5m]))',
            "short",
            "Times that the sink had to start again, in five minutes.",
            (1, 5),
            "SinkBehind",
        ),
    ],
)


def _latency(stage: str, about: str, **more: str) -> Json:
    histogram = f'pipeline_event_latency_seconds_bucket{{job="{stage}"}}'
    # Analytics and the sink observe once a window.
    queries = {f"{share} of 100": quantile(share / 100, histogram, span="2m") for share in (50, 99)}
    return lines(f"{stage.capitalize()}: latency", queries | more, "s", about)


_LATENCY = Row(
    "",
    7,
    [
        _latency(
            "generator",
            "From an order's event time until Kafka has confirmed it, for the oldest order of each batch; and how far the "
            "next order's event time trails the clock.",
            behind="max(pipeline_behind_seconds)",
        ),
        _latency(
            "processor",
            "From an order's event time until others can read it in processed-orders, for the newest order of a "
            "transaction's first and last batch.",
        ),
        _latency("analytics", "From a window's end until others can read its metrics: five seconds are waited."),
        _latency("sink", "From a window's end until its metrics are safe in the file."),
    ],
)

_TROUBLE = Row(
    "What does not go through",
    7,
    [
        lines(
            "Dead letters by reason",
            {"{{reason}}": "sum by (reason) (rate(pipeline_dead_letters_total[$__rate_interval]))"},
            "recps",
            "Records written to orders-dlq, where they stand byte for byte, and can be replayed.",
            alert="DeadLettersAboveShare",
        ),
        lines(
            "Late orders",
            {"late": "sum(rate(pipeline_late_orders_total[$__rate_interval]))"},
            "recps",
            "Orders written to late-orders, since their window was closed.",
            alert="LateOrders",
        ),
        lines(
            "Aborted transactions",
            {
                "{{job}} {{outcome}}": "sum by (job, outcome) "
                '(rate(pipeline_transactions_total{outcome!="committed"}[$__rate_interval]))'
            },
            "ops",
            "Their records are processed again: nothing is lost or doubled.",
            alert="TransactionsAborting",
        ),
    ],
)

PIPELINE = dashboard(
    "pipeline",
    "Pipeline",
    "Revenue and orders, and how they flow through the four stages.",
    [*_BUSINESS, _RATE, _LAG, _ERRORS, _LATENCY, _TROUBLE],
)
