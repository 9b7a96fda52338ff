#!/usr/bin/env bash
# fsspec's exclusive create lets several writers win wherever a file system has not its own.
#
# One expects: of many that call `pipe_file(path, data, mode="create")` for one path at once, one succeeds, and the others
# get FileExistsError. So it is with s3fs, gcsfs and adlfs (conditional puts), and with fsspec's memory file system.
# What happens: the inherited implementation asks `exists()` first and opens for writing afterwards. Two calls one after the
# other look right; at once, several succeed, each is told that it made the file, and the last one's bytes stay. Every file
# system inherits it that does not say otherwise: here Arrow's local file system in fsspec's wrapper; hdfs, sftp, smb, ftp
# and the caching ones alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0 pyarrow==26.0.1
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import threading
from importlib.metadata import version

from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.spec import AbstractFileSystem
from pyarrow.fs import LocalFileSystem

fs = ArrowFSWrapper(LocalFileSystem())
assert type(fs).pipe_file is AbstractFileSystem.pipe_file
WRITERS, RACES = 16, 100


def race(number):
    winners, start = [], threading.Barrier(WRITERS)

    def create(writer):
        start.wait()
        try:
            fs.pipe_file(f"{sys.argv[1]}/{number}.json", str(writer).encode(), mode="create")
        except FileExistsError:
            return
        winners.append(writer)

    threads = [threading.Thread(target=create, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(winners)


try:
    fs.pipe_file(f"{sys.argv[1]}/alone.json", b"1", mode="create")
    fs.pipe_file(f"{sys.argv[1]}/alone.json", b"2", mode="create")
except FileExistsError:
    print(f"fsspec {version('fsspec')}: one after the other, the second create raises FileExistsError")
won = [race(number) for number in range(RACES)]
several = sum(count > 1 for count in won)
print(f"at once, {several} of {RACES} races have more than one winner, up to {max(won)} of {WRITERS}")
assert several, "no race was lost: look again"
PY
