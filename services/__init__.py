"""The four services of the pipeline, one folder each."""
