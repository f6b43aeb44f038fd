"""Airflow operates the pipeline: DAGs, and what their tasks do. README.md has the layout."""
