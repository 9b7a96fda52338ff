"""moto's S3 server, with puts one at a time. `python -m tests.s3_server -p PORT`.

S3 decides a conditional put (`If-None-Match: *`) in one step. moto looks first and writes afterwards, so of several
puts at once two could win (seen: in one of 300 races of sixteen), which no S3 does and no client can mend.
"""

from __future__ import annotations

import threading

from moto.s3.responses import S3Response
from moto.server import main

__all__ = ["put_one_at_a_time"]


def put_one_at_a_time() -> None:
    """Have this process's moto handle one put after the other.

    Its body has been read by then: a client that is stopped half way through its upload holds up nobody.
    """
    put, lock = S3Response.put_object, threading.Lock()

    def put_object(self: S3Response) -> object:
        with lock:
            return put(self)

    S3Response.put_object = put_object


if __name__ == "__main__":
    put_one_at_a_time()
    main()
