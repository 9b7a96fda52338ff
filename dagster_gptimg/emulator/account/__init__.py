"""The one account of the emulated fal: its requests, when they run, and the database of them. No HTTP routes."""
