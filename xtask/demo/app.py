"""The application of `cargo xtask demo --real`, run by gunicorn.

One page costs two roundtrips to redis (count the visit, look for the text), one to PostgreSQL (the text), and on
every tenth page one more (store the count), which PostgreSQL answers when it is on the disk.
"""

import itertools
import os
import threading

import psycopg2
import redis

local = threading.local()
pages = itertools.count(1)


def connections():
    if not hasattr(local, "cache"):
        local.cache = redis.Redis(unix_socket_path=os.environ["DEMO_REDIS"])
        local.database = psycopg2.connect(os.environ["DEMO_POSTGRES"])
        local.database.autocommit = True
    return local.cache, local.database.cursor()


def application(environ, start_response):
    item = int(environ["PATH_INFO"].rsplit("/", 1)[-1])
    cache, database = connections()
    visits = cache.incr(f"visits:{item}")
    cache.get(f"text:{item}")
    database.execute("SELECT text FROM item WHERE id = %s", (item,))
    (text,) = database.fetchone()
    if next(pages) % 10 == 0:
        database.execute("UPDATE item SET visits = %s WHERE id = %s", (visits, item))
    body = f"{text}, seen {visits} times\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
