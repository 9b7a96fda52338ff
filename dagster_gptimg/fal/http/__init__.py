"""fal over HTTP: one client, how its answers are read, and which reads are repeated. Knows no model."""
