"""Makes the ACLs that the pipeline's principals need."""
