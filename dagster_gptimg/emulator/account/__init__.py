"""The one account of the emulated fal, without HTTP: its requests, when they run, and the database that holds them."""
