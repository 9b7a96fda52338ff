"""Tests, in the folders of the package: what a module does is tested in the folder of the module's name.

Beside these there are:

* `e2e/`: whole runs of several modules, in processes of their own, with the emulator's bill as the judge.
* `secrets/`: what no log, event, receipt or page may show, whichever module writes it.
* `simulation/`, `bender/`, `kill/`: histories of crashes, of faults by seed, and of SIGKILL (`make help`).
* `specification/`: the protocol as a model, which `engine/test_purchase_rules.py` compares the engine with.
* `mutations/`: each costly mistake, made on purpose.
* `scripts/`, `benchmarks/`, `notebook/`, `typing/`, and the files here: what stands at the top of the repository, the
  modules at the top of the package, and the docs.

One part of the engine is tested by itself with `engine/scripted.py`: a fal that answers by a list, a clock that nobody
waits for, and a store in memory. Such a test takes no time; it comes first when a rule of the engine changes.
"""
