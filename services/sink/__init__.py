"""The sink: keeps the metrics of closed windows where people and programs read them."""
