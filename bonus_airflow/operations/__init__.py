"""What tasks and triggers do to the pipeline, by the project's own commands and HTTP endpoints. Imports no Airflow."""
