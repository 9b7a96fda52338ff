"""The registry of models: their endpoints, typed inputs and prices. Knows no HTTP."""
