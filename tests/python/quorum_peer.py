"""Celery on quorum queues that hang on topic exchanges, as its documentation asks for.

    quorum_peer.py --broker URL worker QUEUE                 a worker; prints `worker ready`. SIGTERM is a warm shutdown
    quorum_peer.py --broker URL send QUEUE TASK [COUNTDOWN]  sends TASK(2, 3) and prints its result as JSON

The worker has the task `lab.add(x, y)`, and sets up native delayed delivery, as it does by itself where a queue is quorum.
"""

import argparse
import json
import sys

from celery import Celery
from celery.signals import worker_ready
from kombu import Exchange, Queue


def make_app(broker, queue):
    app = Celery("quorum", broker=broker, backend="rpc://")
    app.conf.update(
        task_queues=[
            Queue(queue, Exchange(queue, type="topic"), routing_key=queue, queue_arguments={"x-queue-type": "quorum"})
        ],
        task_default_queue=queue,
        task_default_exchange=queue,
        task_default_exchange_type="topic",
        task_default_routing_key=queue,
        task_default_queue_type="quorum",
        task_acks_late=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )

    @app.task(name="lab.add")
    def add(x, y):
        return x + y

    return app


@worker_ready.connect
def ready(**_):
    print("worker ready", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("what", choices=("worker", "send"))
    arguments.add_argument("queue")
    arguments.add_argument("task", nargs="?")
    arguments.add_argument("countdown", nargs="?", type=float)
    options = arguments.parse_args()
    app = make_app(options.broker, options.queue)
    if options.what == "worker":
        argv = ["worker", "--loglevel", "INFO", "--pool", "solo", "--hostname", "quorum@%h"]
        app.worker_main(argv + ["--without-mingle", "--without-gossip"])
        return 0
    result = app.send_task(options.task, args=[2, 3], queue=options.queue, countdown=options.countdown)
    print(json.dumps(result.get(timeout=120)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
