"""An unmodified Celery client that sends workflows through two workers: one of Python, one of ours.

    celery_workflows.py --broker URL --ours QUEUE --python QUEUE [SCENARIO ...]

Ours serves `rust.*`, the other the tasks of `celery_worker.py`. Prints one JSON object: what each scenario saw, or
{"raised": class, "args": [...]} if `.get()` raised.
"""

import argparse
import json
import sys
import uuid

from celery import Celery, chain, group

TIMEOUT = 60


def scenarios(app, ours, python):
    def rust(name, *args, **options):
        return app.signature(f"rust.{name}", args=args, queue=ours, **options)

    def lab(name, *args, **options):
        return app.signature(f"lab.{name}", args=args, queue=python, **options)

    def get(result):
        return result.get(timeout=TIMEOUT)

    def followed(signature, **options):
        """The result of a task, and that of the callback or errback given with it."""
        (kind, other), = options.items()
        after = other.freeze()
        result = signature.apply_async(**options)
        try:
            first = get(result)
        except Exception as failure:
            first = repr(failure)
        children = [child.id for child in result.children or []]
        return {"first": first, "after": get(after), "is_child": after.id in children, "id": result.id}

    def states():
        seen = []
        result = rust("progress", 3).apply_async()
        value = result.get(timeout=TIMEOUT, on_message=lambda body: seen.append([body["status"], body["result"]]))
        return {"seen": seen[:-1], "value": value}

    def ignored():
        rust("add", 1, 2).apply_async(ignore_result=True)
        return get(rust("add", 3, 4).apply_async())

    def stamped():
        signature = rust("told")
        signature.stamp(release="r1")
        return get(signature.apply_async())

    return {
        "python_rust_python": lambda: get(chain(lab("add", 1, 2), rust("add", 10), lab("add", 100))()),
        "rust_python_rust": lambda: get(chain(rust("add", 1, 2), lab("add", 10), rust("add", 100))()),
        "failing_chain": lambda: get(chain(rust("add", 1, 2), rust("fail"), lab("add", 100))()),
        "link_to_python": lambda: followed(rust("add", 1, 2), link=lab("add", 10)),
        "link_to_rust": lambda: followed(lab("add", 1, 2), link=rust("add", 10)),
        "link_error_to_rust": lambda: followed(rust("fail"), link_error=rust("told")),
        "python_link_error_to_rust": lambda: followed(lab("fail", "no"), link_error=rust("told")),
        "group": lambda: get(group(rust("add", 1, 1), lab("add", 2, 2), rust("add", 3, 3))()),
        "chain_with_group": lambda: get(chain(rust("add", 1, 1), group(lab("add", 10), rust("add", 20)))()),
        "countdown": lambda: get(rust("add", 1, 2).apply_async(countdown=0.3)),
        "expired": lambda: get(rust("add", 1, 2).apply_async(countdown=3, expires=1)),
        "retried": lambda: get(rust("flaky", 2).apply_async()),
        "retried_in_vain": lambda: get(rust("flaky", 99).apply_async()),
        "states": states,
        "ignored": ignored,
        "compressed": lambda: get(rust("add", 1, 2).apply_async(compression="gzip")),
        "bzip2": lambda: get(rust("add", 1, 2).apply_async(compression="bzip2")),
        "stamped": stamped,
        "priority": lambda: get(rust("told").apply_async(priority=7)),
        "time_limit": lambda: get(rust("forever").apply_async(time_limit=1)),
        "soft_time_limit": lambda: get(rust("forever").apply_async(soft_time_limit=1)),
        "task_id": lambda: rust("add", 1, 2).apply_async(task_id=uuid.uuid4().hex).get(timeout=TIMEOUT),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--backend", default="rpc://")
    arguments.add_argument("--ours", required=True)
    arguments.add_argument("--python", required=True)
    arguments.add_argument("scenario", nargs="*")
    options = arguments.parse_args()
    app = Celery("client", broker=options.broker, backend=options.backend)
    app.conf.update(result_accept_content=["json"], broker_connection_retry_on_startup=False)
    seen = {}
    for name, run in scenarios(app, options.ours, options.python).items():
        if options.scenario and name not in options.scenario:
            continue
        try:
            seen[name] = run()
        except Exception as failure:  # whatever was raised is what is to be seen
            seen[name] = {"raised": type(failure).__name__, "args": [str(arg) for arg in failure.args]}
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
