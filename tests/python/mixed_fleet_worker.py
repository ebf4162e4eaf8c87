"""The Python worker of the mixed fleet; `tests/src/bin/mixed-fleet-worker.rs` is the Rust one, with the same tasks.

    mixed_fleet_worker.py --broker URL --results URL --queue QUEUE --dir DIR

Prints the line `worker ready` once it consumes. SIGTERM is a warm shutdown. The task:

    mixed.note(number, holder)  writes "run ID python" to DIR/ledger; if the holder is "python" and there is no file DIR/ID,
                                writes "held ID python" and waits for that file. Returns 2 * number

Unmodified Celery, with the settings under which it loses nothing that it can be kept from losing:

    task_acks_late                 by default a task is acknowledged before it runs, and lost with its worker
    task_reject_on_worker_lost     by default a task whose process was killed is acknowledged as failed
    worker_prefetch_multiplier 1   with one process: while a task runs, no other is asked for. On Redis a message is taken
                                   and noted in two steps, and one that is asked for is lost if either end is killed between
                                   them; there is no setting against that, but while a task is held, nothing is asked for
    result_backend redis://        results by rpc:// go to one process and are lost with it, or with the broker
    visibility_timeout             on Redis what a killed worker held comes back after this, an hour by default
    broker_connection_max_retries  by default a worker gives up after a hundred
"""

import argparse
import ctypes
import os
import signal
import sys
import time

from celery import Celery
from celery.signals import worker_process_init, worker_ready

PR_SET_PDEATHSIG = 1


def make_app(options):
    app = Celery("mixed", broker=options.broker, backend=options.results)
    app.conf.update(
        task_default_queue=options.queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    if options.broker.startswith("redis"):
        app.conf.broker_transport_options = {"visibility_timeout": options.visibility_timeout}

    def note(line):
        # One write to the end of the file: whole or not there, whoever is killed.
        ledger = os.open(os.path.join(options.dir, "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(ledger, f"{line}\n".encode())
        os.close(ledger)

    @app.task(name="mixed.note", bind=True)
    def mixed_note(self, number, holder):
        gate = os.path.join(options.dir, self.request.id)
        note(f"run {self.request.id} python")
        if holder == "python" and not os.path.exists(gate):
            note(f"held {self.request.id} python")
            while not os.path.exists(gate):
                time.sleep(0.01)
        else:
            time.sleep(0.005 * (number % 4))
        return 2 * number

    return app


@worker_process_init.connect
def die_with_the_parent(**_):
    # A host that is gone takes all its processes along.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@worker_ready.connect
def ready(**_):
    print("worker ready", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--results", required=True)
    arguments.add_argument("--queue", required=True)
    arguments.add_argument("--dir", required=True)
    arguments.add_argument("--visibility-timeout", type=int, default=3600)
    options = arguments.parse_args()
    argv = ["worker", "--loglevel", "INFO", "--pool", "prefork", "--concurrency", "1", "--queues", options.queue]
    argv += ["--hostname", "python@%h", "--without-mingle", "--without-gossip"]
    make_app(options).worker_main(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
