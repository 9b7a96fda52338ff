"""Schedules and sensors, and the state that they keep between two ticks."""
