"""The sink: writes the metrics of closed windows into a file, a database, or both."""
