"""Shows a pipeline at work: what flows through each stage, the lag, and each window's metrics as it closes.

Everything is read from Kafka, and of the busy topics only the offsets and the newest records: the view works for every
way to run the pipeline, and costs next to nothing at any rate.
"""
