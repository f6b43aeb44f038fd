"""The pipeline's topics: creates missing ones, and checks the settings of existing ones that the guarantees need."""
