"""Creates the ACLs that the pipeline's principals need."""
