"""Restarts a pipeline's computation from `orders`: deletes derived topics, and resets the processor's group to the beginning."""
