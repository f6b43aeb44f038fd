"""What people read the metrics with."""
