"""Helpers and shared definitions (statuses, retry policies, exit statuses); imports no other folder of this package."""
