"""Tables as they come: files of each format, databases, data frames. Rows and columns out; nothing is checked here."""
