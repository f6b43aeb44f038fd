"""Begins a pipeline's work anew from `orders`: derived topics are deleted, and the processor's group is set to the beginning."""
