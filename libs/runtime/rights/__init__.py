"""What a client may do in Kafka: the rights that a program needs, and errors that name the ones it lacks."""
