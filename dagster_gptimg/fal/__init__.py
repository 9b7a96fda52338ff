"""fal's wire: the model registry, the client, its answers and errors. Knows HTTP; no storage, no Dagster."""
