"""Logging in to Kafka: settings, TLS files, tokens, and one clear line when a broker and this client refuse each other."""
