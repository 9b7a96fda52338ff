"""Looking at images and choosing among them, in Dagster: the gallery of an image asset."""
