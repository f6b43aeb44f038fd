"""aiokafka's clients, with what they lack: settings that the guarantees need, records that they cannot read, brokers that have moved."""
