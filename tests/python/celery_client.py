"""An unmodified Celery client: sends one task by its name and waits for the result.

    celery_client.py --broker URL [--backend URL] --queue QUEUE TASK [--args JSON] [--kwargs JSON] [--timeout SECONDS]
                     [--task-id ID] [--count N] [--expires SECONDS] [--no-wait]
                     [--tls CA CERT KEY]

The queue is given to Celery by its name, so that it declares and routes as it does for anybody.
Prints one JSON object per task: {"id", "state", "result"} or, for a failure,
{"id", "state", "exception": {"class", "module", "args", "message", "raised"}, "traceback"}; for a result that does not
come in time {"id", "state": "TIMEOUT"} (exit status 3). The class is that of the exception `.get()` raised, so what a
caller's `except` clause sees; "raised" names its base classes.
"""

import argparse
import json
import ssl
import sys

from celery import Celery
from celery.exceptions import TimeoutError as GetTimeout


def describe(result, timeout):
    try:
        value = result.get(timeout=timeout)
        return {"id": result.id, "state": result.state, "result": value}
    except GetTimeout:
        # A task of ours never raises this class, so it is the wait that ended.
        return {"id": result.id, "state": "TIMEOUT"}
    except Exception as failure:  # whatever the worker sent is what is to be seen
        kind = type(failure)
        return {
            "id": result.id,
            "state": result.state,
            "exception": {
                "class": kind.__name__,
                "module": kind.__module__,
                "args": [arg if isinstance(arg, (str, int, float, bool, list, dict, type(None))) else repr(arg) for arg in failure.args],
                "message": str(failure),
                "raised": [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__ if base is not object],
            },
            "traceback": result.traceback,
        }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--tls", nargs=3, metavar=("CA", "CERT", "KEY"), help="files for an amqps:// broker")
    arguments.add_argument("--backend", default="rpc://")
    arguments.add_argument("--queue", required=True)
    arguments.add_argument("--args", default="[]")
    arguments.add_argument("--kwargs", default="{}")
    arguments.add_argument("--timeout", type=float, default=60.0)
    arguments.add_argument("--expires", type=float)
    arguments.add_argument("--task-id")
    arguments.add_argument("--serializer", default="json")
    arguments.add_argument("--compression")
    arguments.add_argument("--protocol", type=int, default=2, choices=(1, 2))
    arguments.add_argument("--exchange", help="publish to this exchange instead of the default one")
    arguments.add_argument("--routing-key")
    arguments.add_argument("--count", type=int, default=1, help="send it this often before waiting for the first result")
    arguments.add_argument("--no-wait", action="store_true")
    arguments.add_argument("task")
    options = arguments.parse_args()

    app = Celery("client", broker=options.broker, backend=options.backend)
    app.conf.update(
        task_protocol=options.protocol,
        result_accept_content=["json"],
        broker_connection_retry_on_startup=False,
    )
    if options.tls:
        ca, cert, key = options.tls
        app.conf.broker_use_ssl = {"ca_certs": ca, "certfile": cert, "keyfile": key, "cert_reqs": ssl.CERT_REQUIRED}
    route = {"queue": options.queue}
    if options.exchange is not None:
        route = {"exchange": options.exchange, "routing_key": options.routing_key or options.queue}
    results = []
    for _ in range(options.count):
        results.append(
            app.send_task(
                options.task,
                args=json.loads(options.args),
                kwargs=json.loads(options.kwargs),
                task_id=options.task_id,
                serializer=options.serializer,
                compression=options.compression,
                expires=options.expires,
                **route,
            )
        )
    status = 0
    for result in results:
        if options.no_wait:
            print(json.dumps({"id": result.id, "state": "SENT"}), flush=True)
            continue
        answer = describe(result, options.timeout)
        if answer["state"] == "TIMEOUT":
            status = 3
        print(json.dumps(answer, default=str, sort_keys=True), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
