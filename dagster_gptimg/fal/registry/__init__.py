"""The models that can be asked for: their endpoints, typed inputs and prices. Knows no HTTP."""
