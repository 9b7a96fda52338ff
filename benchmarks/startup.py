"""`startup`: how long a command line takes to say anything, and what importing the package costs."""

from __future__ import annotations

import statistics
import sys

from benchmarks.processes import CLI, run
from benchmarks.results import Measured

TIMES = 5
HAS_DAGSTER = """
import runpy, sys
sys.argv = ["dagster-gptimg", "--help"]
try:
    runpy.run_module("dagster_gptimg.cli", run_name="__main__")
except SystemExit:
    pass
print(sum(name.partition(".")[0] == "dagster" for name in sys.modules))
"""


def measure(scale: float = 1.0) -> Measured:
    """The median of a few starts each; compiled files are there from the first one on."""
    del scale
    found = Measured()
    found.add("the command line prints its help", seconds(*CLI, "--help"), "s", 0.5)
    imports = run((sys.executable, "-c", HAS_DAGSTER)).stdout.splitlines()[-1]
    found.add("modules of Dagster that it imports for that", int(imports), "modules", 0)
    about = f"`import dagster` itself: {took('import dagster'):.2f} s"
    adds = took("import dagster_gptimg", "import dagster")
    found.add("what `import dagster_gptimg` adds to `import dagster`", adds, "s", 0.3, about)
    names = "import dagster_gptimg; [getattr(dagster_gptimg, name) for name in dagster_gptimg.__all__]"
    found.add("the same when all public names are used", took(names, "import dagster"), "s")
    return found


def took(code: str, before: str = "pass") -> float:
    """Seconds that some code takes after other code, in processes of their own: the median."""
    timed = f"import time; {before}; began = time.monotonic(); {code}; print(time.monotonic() - began)"
    return statistics.median(float(run((sys.executable, "-c", timed)).stdout) for _ in range(TIMES))


def seconds(*command: str) -> float:
    """The median of how long a process takes from start to end."""
    return statistics.median(run(command).wall for _ in range(TIMES))
