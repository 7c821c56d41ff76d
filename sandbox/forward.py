"""Inside a sandbox: a port of its loopback that leads to the proxy's socket; runs as a program.

    python3 -I -S forward.py SOCKET PORT

It returns once the port is open, and what it leaves in the background ends with the sandbox. Its
standard library is all it has there. It decides nothing: what may be reached is `proxy.py`'s.
"""

import os
import socket
import sys
import threading
from contextlib import suppress

READ_BYTES = 64 * 1024


def main(path: str, port: int) -> None:
    """Listen, go into the background, and hand on one connection after the other."""
    server = socket.create_server(("127.0.0.1", port))
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    while True:
        client, _ = server.accept()
        proxy = socket.socket(socket.AF_UNIX)
        try:
            proxy.connect(path)
        except OSError:
            client.close()
            continue
        for one, other in ((client, proxy), (proxy, client)):
            threading.Thread(target=copy, args=(one, other), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Hand bytes on until there are no more."""
    try:
        with suppress(OSError):
            while data := source.recv(READ_BYTES):
                target.sendall(data)
    finally:
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
