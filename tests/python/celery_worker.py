"""A Celery worker for a client of ours to drive.

    celery_worker.py --broker URL [--backend URL] [--queue QUEUE] [--also QUEUE] [--early-ack]
                     [--pool solo|threads|prefork] [--concurrency N] [--tls CA CERT KEY]

It acknowledges last; with --early-ack before it runs a task, which is Celery's default. --also is one more queue to consume.
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
    lab.told(*a)          {"args": a, "stamps", "priority", "nesting"}: what its message says
    lab.replace(*a, with_) replaces itself with the signature `with_`, which gets the other arguments in front of its own
"""

import argparse
import datetime
import decimal
import ssl
import sys
import time

from celery import Celery, signature
from celery.exceptions import Reject
from celery.signals import worker_ready


class LabError(Exception):
    """A class of the worker's own."""


def make_app(broker, backend, queue, acks_late=True):
    app = Celery("lab", broker=broker, backend=backend)
    app.conf.update(
        task_default_queue=queue,
        task_acks_late=acks_late,
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

    @app.task(name="lab.told", bind=True)
    def told(self, *args):
        request = self.request
        return {
            "args": args,
            "stamps": request.stamps or {},
            "priority": request.delivery_info["priority"],
            "nesting": request.replaced_task_nesting,
        }

    @app.task(name="lab.replace", bind=True)
    def replace(self, *args, with_):
        raise self.replace(signature(with_, app=app).clone(args=args))

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
    arguments.add_argument("--also")
    arguments.add_argument("--early-ack", action="store_true")
    arguments.add_argument("--pool", default="solo", choices=("solo", "threads", "prefork"))
    arguments.add_argument("--concurrency", type=int, default=1)
    arguments.add_argument("--events", action="store_true")
    options = arguments.parse_args()
    app = make_app(options.broker, options.backend, options.queue, acks_late=not options.early_ack)
    if options.tls:
        ca, cert, key = options.tls
        app.conf.broker_use_ssl = {"ca_certs": ca, "certfile": cert, "keyfile": key, "cert_reqs": ssl.CERT_REQUIRED}
    argv = ["worker", "--loglevel", "INFO", "--pool", options.pool, "--concurrency", str(options.concurrency)]
    queues = ",".join(filter(None, [options.queue, options.also]))
    argv += ["--queues", queues, "--hostname", "lab@%h", "--without-mingle", "--without-gossip"]
    if options.events:
        argv.append("--task-events")
    app.worker_main(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
