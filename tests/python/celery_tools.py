"""Celery's own tools, unmodified, for a worker of ours to be looked at with.

    celery_tools.py --broker URL commands JSON   runs command lines of `celery`, given as a list of lists of arguments,
                                                 in this process, so that many take a moment; prints a list of
                                                 {"exit": CODE, "output": TEXT}
    celery_tools.py --broker URL events          prints each event as a line of JSON, after the line `listening`, until
                                                 it is told to end
    celery_tools.py --broker URL run ARGUMENTS   is `celery ARGUMENTS` itself, for what does not end
"""

import argparse
import json
import sys

from celery import Celery

# What an operator's tools know of the tasks of the workers they look at: the names.
app = Celery("lab")


@app.task(name="lab.add")
def add(x, y):
    """Runs elsewhere."""


def run_commands(broker, commands):
    from celery.bin.celery import celery
    from click.testing import CliRunner

    answers = []
    for command in commands:
        result = CliRunner().invoke(celery, ["--no-color", "--broker", broker, *command])
        answers.append({"exit": result.exit_code, "output": result.output})
    print(json.dumps(answers))


def print_events(broker):
    app.conf.broker_url = broker
    with app.connection_for_read() as connection:
        handlers = {"*": lambda event: print(json.dumps(event), flush=True)}
        receiver = app.events.Receiver(connection, handlers=handlers)
        with receiver.consumer_context(wakeup=False) as (consuming, _, _):
            print("listening", flush=True)
            while True:
                consuming.drain_events()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broker", required=True)
    arguments.add_argument("what", choices=("commands", "events", "run"))
    arguments.add_argument("rest", nargs=argparse.REMAINDER)
    options = arguments.parse_args()
    if options.what == "commands":
        run_commands(options.broker, json.loads(options.rest[0]))
    elif options.what == "events":
        print_events(options.broker)
    else:
        from celery.__main__ import main as celery

        sys.argv = ["celery", "--app", "celery_tools:app", "--no-color", "--broker", options.broker, *options.rest]
        celery()
    return 0


if __name__ == "__main__":
    sys.exit(main())
