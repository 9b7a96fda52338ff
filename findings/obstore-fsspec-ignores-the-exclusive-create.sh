#!/usr/bin/env bash
# obstore's fsspec adapter takes the mode of an exclusive create, and overwrites.
#
# One expects: `pipe_file(path, data, mode="create")` fails with FileExistsError when the object is there. fsspec has that
# mode for exactly this, s3fs, gcsfs and adlfs do it with a conditional put, and obstore's own `put(mode="create")` does, too.
# What happens: the adapter accepts `mode` among its keyword arguments and does not use it: the second writer replaces what
# the first one made, and both are told that they made it. A lock, or a "first one wins", built on it holds nobody back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1 fsspec==2026.9.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import obstore
from obstore.fsspec import FsspecStore
from obstore.store import LocalStore

path = Path(sys.argv[1], "store")
path.mkdir()
fs = FsspecStore("file")
name = f"{path}/receipt.json"
fs.pipe_file(name, b"the first", mode="create")
fs.pipe_file(name, b"the second", mode="create")
print(f"obstore {version('obstore')}: two exclusive creates succeed, and the object is {fs.cat_file(name)!r}")
assert fs.cat_file(name) == b"the second", "the adapter has changed: look again"
try:
    obstore.put(LocalStore(path), "receipt.json", b"the third", mode="create")
except Exception as error:  # noqa: BLE001
    print(f"obstore's own put(mode='create') raises {type(error).__name__}")
else:
    raise AssertionError("obstore's own put has changed: look again")
PY
