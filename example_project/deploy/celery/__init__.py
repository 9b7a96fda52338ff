"""Celery on Postgres and S3: the instance's settings, and the workers' app."""
