"""The pipeline's topics: created where they are missing, and compared with what the guarantees need."""
