"""The service of `cargo xtask truth findings`: well until SIGUSR1 comes, and then as its first argument says.

It reads requests of 200 bytes and answers each with 1000 bytes, a thread for each connection; as `loop`, one thread for all of
them. The second argument is where redis is, the third a folder on a disk. It says its port.
"""

import os
import selectors
import signal
import socket
import sys
import threading
import time

REQUEST, REPLY = 200, b"x" * 1000
WHAT, REDIS, FOLDER = sys.argv[1:4]
is_planted = False
lock = threading.Lock()


def plant(_signal, _frame):
    global is_planted
    is_planted = True


def read(connection, length):
    """So many bytes, or none if the other end has closed."""
    got = b""
    while len(got) < length:
        more = connection.recv(length - len(got))
        if not more:
            return b""
        got += more
    return got


def spin(seconds):
    """Takes CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Worker:
    """What a thread needs."""

    def __init__(self):
        if WHAT == "queries":
            self.redis = socket.create_connection(REDIS.rsplit(":", 1))
            self.redis.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if WHAT == "fsync":
            # A file without a name, which goes when it is closed.
            self.file = os.open(FOLDER, os.O_TMPFILE | os.O_WRONLY, 0o600)

    def work(self):
        if WHAT == "queries":
            for _ in range(25 if is_planted else 1):
                self.redis.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\nitem\r\n")
                read(self.redis, len(b"$-1\r\n"))
        elif WHAT == "fsync":
            os.pwrite(self.file, REPLY, 0)
            if is_planted:
                os.fsync(self.file)
        elif WHAT == "lock" and is_planted:
            with lock:
                time.sleep(0.003)
        elif WHAT == "lock":
            time.sleep(0.003)
        elif WHAT == "loop":
            spin(0.002)
        elif WHAT == "spin":
            spin(0.001)


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    worker = Worker()
    while read(connection, REQUEST):
        worker.work()
        connection.sendall(REPLY)


def loop(listener):
    """One request after the other, whichever connection it comes on."""
    waiting, worker = selectors.DefaultSelector(), Worker()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                waiting.register(listener.accept()[0], selectors.EVENT_READ)
            elif read(key.fileobj, REQUEST):
                worker.work()
                key.fileobj.sendall(REPLY)
            else:
                waiting.unregister(key.fileobj)


signal.signal(signal.SIGUSR1, plant)
server = socket.create_server(("127.0.0.1", 0), backlog=128)
print(server.getsockname()[1], flush=True)
if WHAT == "loop":
    loop(server)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
