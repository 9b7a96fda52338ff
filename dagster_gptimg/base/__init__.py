"""What all parts share and nothing else: no prompt table, no fal, no store, no Dagster."""
