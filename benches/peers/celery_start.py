"""A Python Celery worker as the peer of one of our idle workers: time from start to ready, and resident memory then.

    celery_start.py --broker URL [--runs 3] [--pool solo|prefork]

Prints one JSON line: {"bench": "worker_start", "peer": "celery", "pool", "seconds", "seconds_all", "rss_mib"}. Memory is
that of the worker and its children, pages they share counted once (proportional set size), five seconds after ready.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from celery import Celery
from celery.signals import worker_ready


def work(options):
    app = Celery("idle", broker=options.broker, backend="rpc://")
    app.conf.update(task_default_queue="celery-start-bench", broker_connection_retry_on_startup=True)

    @app.task(name="ping")
    def ping():
        return "pong"

    @worker_ready.connect
    def ready(**_):
        os.write(1, b"ready\n")  # Celery takes sys.stdout for its own log, where this would be below the level.

    app.worker_main(["worker", "--loglevel", "ERROR", "--pool", options.pool, "--concurrency", "1", "--queues", "celery-start-bench"])


def children(pid):
    found = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            for child in file.read().split():
                found.extend(children(int(child)))
    except OSError:
        pass
    return found


def memory_mib(pid):
    total = 0
    for process in children(pid):
        with open(f"/proc/{process}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--pool", default="solo", choices=("solo", "prefork"))
    arguments.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.work:
        work(options)
        return 0

    seconds, memory = [], []
    for _ in range(options.runs):
        command = [sys.executable, "-B", os.path.abspath(__file__), "--work", "--broker", options.broker, "--pool", options.pool]
        started = time.monotonic()
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            watchdog = threading.Timer(60, worker.kill)
            watchdog.start()
            for line in worker.stdout:
                if line.strip() == "ready":
                    break
            else:
                raise SystemExit("the worker ended, or was ended after 60 s, before it was ready")
            watchdog.cancel()
            seconds.append(time.monotonic() - started)
            time.sleep(5)
            memory.append(memory_mib(worker.pid))
        finally:
            worker.terminate()
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
    line = {"bench": "worker_start", "peer": "celery", "pool": options.pool}
    line.update(seconds=statistics.median(seconds), seconds_all=seconds, rss_mib=round(statistics.median(memory), 1))
    print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
