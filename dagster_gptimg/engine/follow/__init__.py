"""From accepted to ended: when to ask (`watcher.py`), and what streams and webhooks tell without being asked."""
