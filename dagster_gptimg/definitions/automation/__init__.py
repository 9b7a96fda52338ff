"""Schedules and sensors, and what they remember between two ticks."""
