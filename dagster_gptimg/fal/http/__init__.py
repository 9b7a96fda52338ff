"""fal over HTTP: the client, the parsing of answers, and which reads are retried. Knows no model."""
