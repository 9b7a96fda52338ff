"""`python -m dagster_gptimg.cli`: the command line without its entry point."""

from __future__ import annotations

from dagster_gptimg.cli.commands import main

if __name__ == "__main__":
    main()
