"""Images that nobody takes for a model's: size, format and background as asked for."""
