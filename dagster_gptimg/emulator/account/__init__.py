"""The one account of the emulated fal: its requests, when they run, and the database that holds them. No HTTP routes."""
