"""An unmodified Celery client that uses every feature there is of workers: one of Python, one of ours.

    celery_features.py --broker URL [--backend URL] GROUP

GROUP is `calls` (ours alone; no Python worker needed), `workflows` (both) or `chords` (both, and a backend that has them).
Ours is the node `ours@lab` and serves `rust.*` on the queue `ours`; the other is `celery_worker.py` on the queue `theirs`.
Both serve `lab.add` on the queue `shared`. Prints one JSON object: what each feature gave, or {"raised": class, "args":
[...]} if `.get()` raised.
"""

import argparse
import datetime
import decimal
import json
import sys
import uuid

from celery import Celery, chain, chord, group

TIMEOUT = 120
# py-amqp 5.3 loses what arrives as it begins its next second of waiting, so no result is due after a whole one.
HALF = 0.5


def get(result, **options):
    return result.get(timeout=TIMEOUT, **options)


class Later:
    """Something whose outcome is looked at when all else has been asked for."""

    def __init__(self, result):
        self.result = result


class Features:
    def __init__(self, app):
        self.app = app

    def rust(self, name, *args, **options):
        return self.app.signature(f"rust.{name}", args=args, queue="ours", **options)

    def lab(self, name, *args, **options):
        return self.app.signature(f"lab.{name}", args=args, queue="theirs", **options)

    def shared(self, *args):
        return self.app.signature("lab.add", args=args, queue="shared")


class Calls(Features):
    def all(self):
        rust = self.rust
        add = lambda **options: get(rust("add", 1, 2).apply_async(**options))
        soon = datetime.timedelta(milliseconds=300)
        return {
            "expires": lambda: Later(rust("add", 1, 2).apply_async(countdown=8, expires=4)),
            "get": add,
            "keyword_arguments": lambda: get(self.app.send_task("rust.add", kwargs={"x": 1, "y": 2}, queue="ours")),
            "task_id": lambda: add(task_id=uuid.uuid4().hex),
            "many": self.many,
            "typed_values": self.typed_values,
            "protocol_1": self.protocol_1,
            "compression": lambda: [add(compression=name) for name in ("gzip", "zlib", "bzip2")],
            "exception": lambda: get(rust("fail").apply_async()),
            "exception_of_its_own": lambda: get(rust("fail_custom").apply_async()),
            "not_registered": lambda: get(rust("nothing").apply_async()),
            "custom_states": self.custom_states,
            "countdown": lambda: add(countdown=0.3),
            "eta": lambda: add(eta=datetime.datetime.now(datetime.timezone.utc) + soon),
            "retry": lambda: get(rust("asks", 2).apply_async()),
            "autoretry": lambda: get(rust("flaky", 2).apply_async()),
            "autoretry_in_vain": lambda: get(rust("flaky", 99).apply_async()),
            "priority": lambda: get(rust("told").apply_async(priority=7))["priority"],
            "headers": lambda: get(rust("told").apply_async(headers={"x-trace": "abc"}))["headers"],
            "stamps": self.stamps,
            "ignore_result": self.ignore_result,
            "time_limit": lambda: get(rust("forever").apply_async(time_limit=HALF)),
            "soft_time_limit": lambda: get(rust("forever").apply_async(soft_time_limit=HALF)),
            "revoke": self.revoke,
            "terminate": self.terminate,
        }

    def many(self):
        sent = [self.rust("add", number, 0).apply_async() for number in range(50)]
        return [get(result) for result in sent] == list(range(50))

    def typed_values(self):
        values = [
            datetime.date(2026, 1, 2),
            datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc),
            decimal.Decimal("1.50"),
            uuid.UUID(int=7),
            b"\xff\x00",
        ]
        back = get(self.rust("echo", *values).apply_async())
        return back == values or repr(back)

    def protocol_1(self):
        with Celery("old", broker=self.app.conf.broker_url, backend=self.app.conf.result_backend) as old:
            old.conf.update(task_protocol=1, result_accept_content=["json"])
            return get(old.send_task("rust.add", args=[1, 2], queue="ours"))

    def custom_states(self):
        seen = []

        def note(body):
            if [body["status"], body["result"]] not in seen:
                seen.append([body["status"], body["result"]])

        value = get(self.rust("progress", 3).apply_async(), on_message=note)
        return {"seen": [state for state in seen if state[0] == "PROGRESS"], "value": value}

    def stamps(self):
        signature = self.rust("told")
        signature.stamp(release="r1")
        return get(signature.apply_async())["stamps"]["release"]

    def ignore_result(self):
        ignored = self.rust("add", 1, 2).apply_async(ignore_result=True)
        return [get(ignored), get(self.rust("add", 3, 4).apply_async())]

    def revoke(self):
        task_id = str(uuid.uuid4())
        answers = self.app.control.revoke(task_id, destination=["ours@lab"], reply=True, timeout=TIMEOUT)
        assert "ok" in answers[0]["ours@lab"], answers
        return get(self.rust("add", 1, 2).apply_async(task_id=task_id))

    def terminate(self):
        result = self.rust("forever").apply_async()

        def once_it_runs(body):
            if body["task_id"] == result.id and body["status"] == "RUNNING":
                self.app.control.revoke(result.id, terminate=True)

        return get(result, on_message=once_it_runs)


class Workflows(Features):
    def all(self):
        rust, lab = self.rust, self.lab
        return {
            "chain_python_rust_python": lambda: get(chain(lab("add", 1, 2), rust("add", 10), lab("add", 100))()),
            "chain_rust_python_rust": lambda: get(chain(rust("add", 1, 2), lab("add", 10), rust("add", 100))()),
            "chain_that_fails": lambda: get(chain(rust("add", 1, 2), rust("fail"), lab("add", 100))()),
            "chain_with_a_retry": lambda: get(chain(rust("add", 1, 1), lab("retry"), rust("add", 10))()),
            "chain_with_group": lambda: get(chain(rust("add", 1, 1), group(lab("add", 10), rust("add", 20)))()),
            "link_to_python": lambda: self.followed(rust("add", 1, 2), link=lab("add", 10)),
            "link_to_rust": lambda: self.followed(lab("add", 1, 2), link=rust("add", 10)),
            "link_error_to_rust": lambda: self.followed(rust("fail"), link_error=rust("told")),
            "link_error_of_python_to_rust": lambda: self.followed(lab("fail", "no"), link_error=rust("told")),
            "group": lambda: get(group(rust("add", 1, 1), lab("add", 2, 2), rust("add", 3, 3))()),
            "group_on_a_shared_queue": lambda: get(group(self.shared(n, n) for n in range(40))()) == list(range(0, 80, 2)),
            "replaced": self.replaced,
        }

    def followed(self, signature, **options):
        """The result of a task, and that of the callback or errback given with it."""
        (other,) = options.values()
        after = other.freeze()
        result = signature.apply_async(**options)
        try:
            first = get(result)
        except Exception as failure:
            first = repr(failure)
        children = [child.id for child in result.children or []]
        told = get(after)
        if isinstance(told, dict):
            told = told["args"] == [result.id]
        return {"first": first, "after": told, "is_child": after.id in children}

    def replaced(self):
        """A step of Python's replaces itself with one of ours; what follows knows that it was."""
        replacing = self.lab("replace").clone(kwargs={"with_": dict(self.rust("told"))})
        told = get(chain(self.rust("add", 1, 2), replacing, self.rust("told"), self.lab("told"))())
        nesting = []
        while isinstance(told, dict):
            nesting.append(told["nesting"])
            (told,) = told["args"]
        return {"nesting": nesting, "first": told}


class Chords(Features):
    def all(self):
        rust, lab = self.rust, self.lab
        members = [rust("add", 1, 1), lab("add", 2, 2), rust("add", 3, 3), lab("add", 4, 4)]
        plain = lambda: [signature.clone() for signature in members]
        nested = lambda one, other: [group(one("add", 1, 1), other("add", 2, 2)), one("add", 3, 3)]
        return {
            "chord_with_a_body_of_ours": lambda: get(chord(plain(), app=self.app)(rust("total"))),
            "chord_with_a_body_of_python": lambda: get(chord(plain(), app=self.app)(lab("echo")))["args"],
            "chord_on_a_shared_queue": lambda: get(
                chord([self.shared(n, n) for n in range(20)], app=self.app)(rust("total"))
            ),
            "chord_of_groups": lambda: [
                get(chord(nested(*workers), app=self.app)(lab("echo")))["args"]
                for workers in ((lab, lab), (rust, rust), (rust, lab), (lab, rust))
            ],
            "chord_of_chains": lambda: get(
                chord([chain(rust("add", 1, 1), lab("add", 1)), chain(lab("add", 1, 1), rust("add", 2))])(lab("echo"))
            )["args"],
            "chain_with_a_chord": lambda: get(
                chain(rust("add", 1, 1), group(rust("add", 1), lab("add", 2)), rust("total"), lab("add", 100))()
            ),
            "chord_with_a_replaced_member": lambda: get(
                chord(
                    [rust("add", 1, 1), lab("replace", 2, 2).clone(kwargs={"with_": dict(rust("add"))})], app=self.app
                )(rust("total"))
            ),
            "chord_that_fails": lambda: self.failing(lab("add", 1, 1), rust("fail")),
            "chord_in_which_python_fails": lambda: self.failing(rust("add", 1, 1), lab("fail", "boom")),
            "group_after_failures": lambda: get(group(plain())()),
        }

    def failing(self, *members):
        """What is stored for the body; with `propagate` the exception of the member might be raised instead."""
        body = chord(members, app=self.app)(self.lab("echo"))
        failure = get(body, propagate=False)
        return {"raised": type(failure).__name__, "told": str(failure).endswith(" raised ValueError('boom')")}


GROUPS = {"calls": Calls, "workflows": Workflows, "chords": Chords}


def outcome(run):
    try:
        return run()
    except Exception as failure:  # whatever was raised is what is to be seen
        return {"raised": f"{type(failure).__module__}.{type(failure).__name__}", "args": [str(arg) for arg in failure.args]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("--backend", default="rpc://")
    arguments.add_argument("group", choices=sorted(GROUPS))
    options = arguments.parse_args()
    app = Celery("client", broker=options.broker, backend=options.backend)
    app.conf.update(result_accept_content=["json"], broker_connection_retry_on_startup=False)
    seen = {name: outcome(run) for name, run in GROUPS[options.group](app).all().items()}
    for name, later in seen.items():
        if isinstance(later, Later):
            seen[name] = outcome(lambda: get(later.result))
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
