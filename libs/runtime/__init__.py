"""The runtime that the services share: settings, logging, life cycle, and the exactly-once worker. Knows no event."""
