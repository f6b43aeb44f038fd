"""The operations of tasks and triggers, by the project's commands and HTTP endpoints. Does not import Airflow."""
