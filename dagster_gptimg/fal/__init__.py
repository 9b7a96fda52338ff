"""Everything that knows fal: the model registry, the HTTP client, the parsing of answers. No storage, no Dagster."""
