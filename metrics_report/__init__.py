"""`pipeline metrics`: the metrics by product and minute, hour or day, from the file, the database or the topic."""
