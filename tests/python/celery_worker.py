"""A Celery worker for a client of ours to drive.

    celery_worker.py --broker URL [--backend URL] [--queue QUEUE] [--pool solo|threads|prefork] [--concurrency N]
                     [--tls CA CERT KEY]

Prints the line `worker ready` once it consumes. SIGTERM is a warm shutdown. Tasks:

    lab.add(x, y)         x + y
    lab.echo(*a, **k)     {"args": a, "kwargs": k}
    lab.sleep(seconds)    "slept", after that time
    lab.fail(message)     raises ValueError(message)
    lab.fail_custom(a, b) raises LabError(a, b), a class no client can import
    lab.typed()           a date, a decimal and bytes, as kombu tags them
    lab.retry(times)      retries that often, then the number of retries
    lab.reject()          is rejected: no result
    lab.progress(steps)   reports PROGRESS with {"step": n}, then the number of steps
"""

import argparse
import datetime
import decimal
import ssl
import sys
import time

from celery import Celery
from celery.exceptions import Reject
from celery.signals import worker_ready


class LabError(Exception):
    """A class of the worker's own."""


def make_app(broker, backend, queue):
    app = Celery("lab", broker=broker, backend=backend)
    app.conf.update(
        task_default_queue=queue,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        worker_enable_remote_control=True,
    )

    @app.task(name="lab.add")
    def add(x, y):
        return x + y

    @app.task(name="lab.echo")
    def echo(*args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @app.task(name="lab.sleep")
    def sleep(seconds):
        time.sleep(seconds)
        return "slept"

    @app.task(name="lab.fail")
    def fail(message):
        raise ValueError(message)

    @app.task(name="lab.fail_custom")
    def fail_custom(a, b):
        raise LabError(a, b)

    @app.task(name="lab.typed")
    def typed():
        return {"date": datetime.date(2026, 1, 2), "decimal": decimal.Decimal("1.50"), "bytes": b"\xff\x00"}

    @app.task(name="lab.retry", bind=True, max_retries=10)
    def retry(self, times):
        if self.request.retries < times:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        return self.request.retries

    @app.task(name="lab.reject")
    def reject():
        raise Reject("it says so", requeue=False)

    @app.task(name="lab.progress", bind=True)
    def progress(self, steps):
        for step in range(steps):
            self.update_state(state="PROGRESS", meta={"step": step})
        return steps

    return app


@worker_ready.connect
def ready(**_):
    print("worker ready", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--tls", nargs=3, metavar=("CA", "CERT", "KEY"), help="files for an amqps:// broker")
    arguments.add_argument("--backend", default="rpc://")
    arguments.add_argument("--queue", default="celery")
    arguments.add_argument("--pool", default="solo", choices=("solo", "threads", "prefork"))
    arguments.add_argument("--concurrency", type=int, default=1)
    arguments.add_argument("--events", action="store_true")
    options = arguments.parse_args()
    app = make_app(options.broker, options.backend, options.queue)
    if options.tls:
        ca, cert, key = options.tls
        app.conf.broker_use_ssl = {"ca_certs": ca, "certfile": cert, "keyfile": key, "cert_reqs": ssl.CERT_REQUIRED}
    argv = ["worker", "--loglevel", "INFO", "--pool", options.pool, "--concurrency", str(options.concurrency)]
    argv += ["--queues", options.queue, "--hostname", "lab@%h", "--without-mingle", "--without-gossip"]
    if options.events:
        argv.append("--task-events")
    app.worker_main(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
