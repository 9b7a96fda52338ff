"""Scripts that make targets and people run."""
