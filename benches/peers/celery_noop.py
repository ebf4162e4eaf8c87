"""Python Celery on the work of the benchmark `celery`: a task that does nothing.

    celery_noop.py worker  --broker URL --backend URL --queue NAME
    celery_noop.py latency --broker URL --backend URL --queue NAME [--count 1000] [--warm 50]

`worker` is a prefork worker with two processes and Celery's defaults otherwise; it runs until it is told to end.
`latency` calls the task `count` times, one after the other, and prints {"seconds": [...]}: from before apply_async() until
get() has returned, after `warm` calls that are not counted.
"""

import argparse
import json
import sys
import time

from celery import Celery


def application(options):
    app = Celery("noop", broker=options.broker, backend=options.backend)
    app.conf.update(task_default_queue=options.queue, broker_connection_retry_on_startup=True)

    @app.task(name="noop")
    def noop():
        return None

    return app, noop


def work(options):
    app, _ = application(options)
    app.worker_main(["worker", "--loglevel", "WARNING", "--pool", "prefork", "--concurrency", "2", "--queues", options.queue])


def latency(options):
    _, noop = application(options)
    seconds = []
    for number in range(options.warm + options.count):
        began = time.perf_counter()
        noop.apply_async().get(timeout=60)
        if number >= options.warm:
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds}))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=("worker", "latency"))
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--backend", required=True)
    arguments.add_argument("--queue", required=True)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--warm", type=int, default=50)
    options = arguments.parse_args()
    (work if options.what == "worker" else latency)(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
