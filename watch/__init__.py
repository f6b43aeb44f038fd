"""Shows a running pipeline: throughput and lag of each stage, and each window's metrics when it closes.

All data is read from Kafka; of the busy topics only the offsets and the newest records are read. So the view works however
the pipeline is run, and costs next to nothing at any rate.
"""
