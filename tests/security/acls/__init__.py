"""ACLs: with the rights that are declared everything works, and without any one of them it ends with its name."""
