"""The second front door: components, each a folder with its `defs.yaml`."""
