"""Deployments of one code location: on one machine, on Celery, on Kubernetes, on ECS (docs/deployment.md)."""
