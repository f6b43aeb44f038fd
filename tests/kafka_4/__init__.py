"""What is different on Kafka 4, and the move of a running pipeline from Kafka 3.9 with ZooKeeper to it."""
