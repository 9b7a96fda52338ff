"""Helpers for all other packages, without prompt tables, fal, stores or Dagster."""
