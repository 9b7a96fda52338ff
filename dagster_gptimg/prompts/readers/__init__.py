"""Readers of tables: files of each format, databases, data frames. They return rows and columns, without validation."""
