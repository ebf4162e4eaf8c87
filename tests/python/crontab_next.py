"""What unmodified Celery makes of crontabs.

    crontab_next.py < QUESTIONS

Each line of standard input is a JSON list [minute, hour, day_of_week, day_of_month, month_of_year, last], the last being
seconds since the epoch. Each answer is a line: the seconds at which celery.schedules.crontab is due next after `last`, in
UTC, or null where it refuses the crontab.
"""

import datetime
import json
import sys

from celery import Celery
from celery.schedules import ParseException, crontab


def main():
    app = Celery("schedule", set_as_current=False)
    app.conf.timezone = "UTC"
    for line in sys.stdin:
        *fields, last = json.loads(line)
        last = datetime.datetime.fromtimestamp(last, datetime.timezone.utc)
        try:
            schedule = crontab(*fields, app=app, nowfun=lambda: last)
        except (ValueError, ParseException):
            print("null")
            continue
        start, delta, _ = schedule.remaining_delta(last)
        print(int((start + delta).timestamp()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
