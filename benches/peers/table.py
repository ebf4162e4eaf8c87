"""Sets our measurements beside the peers': table.py OURS.jsonl PEERS.jsonl

Both files hold one JSON object per line. Lines belong together when `bench`, `targets`, `bins` and `batch` are equal, and
the `mode` (such as warm or cold); a line of a peer without a mode belongs to all of them. `seconds` and `peak_rss_mib` or `rss_mib` are compared.
Any other field is printed as it is; lines that are not JSON are skipped.

Lines of `celery_noop` hold both sides and get a table of their own.
"""

import json
import sys

KEY = ("bench", "targets", "bins", "batch")
COMPARED = ("seconds", "peak_rss_mib", "rss_mib")
HIDDEN = ("seconds_all", "peer", "mode", "pool", *KEY, *COMPARED)


def lines(path):
    with open(path) as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and "bench" in line:
                yield line


def key(line):
    return tuple(line.get(name) for name in KEY)


def key_and_mode(line):
    return (*key(line), line.get("mode"))


def memory(line):
    return line.get("peak_rss_mib", line.get("rss_mib")) if line else None


def seconds(value):
    if value is None:
        return "-"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def mib(value):
    return "-" if value is None else f"{value:.0f} MiB"


def ratio(theirs, ours):
    return "-" if not theirs or not ours else f"{theirs / ours:.1f}x"


def name(line):
    sizes = [f"{label}={line[label]:,}" for label in KEY[1:] if line.get(label) is not None]
    return " ".join([line["bench"], *([line["mode"]] if line.get("mode") else []), *sizes])


# What is compared of a Celery worker and ours: title, where the value is, unit, whether less is better, what is aimed at.
CELERY = (
    ("drained, tasks/s", ("drain_per_second",), 0, False, {"rabbitmq+rpc": "6x", "redis+redis": "10x"}),
    ("CPU per task, us", ("cpu_us_per_task",), 0, True, "9x"),
    ("peak memory draining, MiB", ("peak_rss_mib",), 1, True, ""),
    ("idle memory, MiB", ("idle", "rss_mib"), 1, True, "10x"),
    ("idle memory, shared once, MiB", ("idle", "pss_mib"), 1, True, "10x"),
    ("start to first result, ms", ("idle", "start_seconds"), 3, True, "20x"),
    ("Python get() p50, ms", ("idle", "python_p50_ms"), 2, True, ""),
    ("Python get() p99, ms", ("idle", "python_p99_ms"), 2, True, ""),
    ("our get() p50, ms", ("idle", "ours_p50_ms"), 2, True, ""),
    ("our get() p99, ms", ("idle", "ours_p99_ms"), 2, True, ""),
)


def celery_rows(found):
    """Both workers side by side, for each transport and way to the broker."""
    rows = [("a task that does nothing", "", "", "ours", "celery", "better", "aim")]
    places = dict.fromkeys((line["transport"], line["path"]) for line in found)
    for transport, path in places:
        here = {line["worker"]: line for line in found if (line["transport"], line["path"]) == (transport, path)}
        for title, way, digits, less, aim in CELERY:
            values = []
            for worker in ("tuf-fleet", "celery"):
                value = here.get(worker)
                for part in way:
                    value = value.get(part) if value else None
                values.append(value)
            ours, theirs = values
            if ours is None and theirs is None:
                continue
            scale = 1000 if title.endswith(", ms") and way[-1].endswith("seconds") else 1
            shown = ["-" if value is None else f"{value * scale:,.{0 if scale > 1 else digits}f}" for value in values]
            better = ratio(theirs, ours) if less else ratio(ours, theirs)
            aim = aim.get(transport, "") if isinstance(aim, dict) else aim
            rows.append((title, transport, path, *shown, better, aim if path == "direct" else ""))
    # What the added round trip costs, against the same proxy without it.
    for worker in ("tuf-fleet", "celery"):
        for transport in dict.fromkeys(line["transport"] for line in found):
            rate = {line["path"]: line["drain_per_second"] for line in found if (line["worker"], line["transport"]) == (worker, transport)}
            if rate.get("proxy") and rate.get("proxy +2 ms"):
                cost = f"{100 * (1 - rate['proxy +2 ms'] / rate['proxy']):.0f} %"
                ours = worker == "tuf-fleet"
                rows.append(("cost of 2 ms of round trip", transport, "", *((cost, "") if ours else ("", cost)), "", "20 %" if ours else ""))
    return rows


def show(rows, left):
    """Prints columns, the first `left` of them aligned to the left, and the last."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        *cells, last = row
        cells = [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in enumerate(zip(cells, widths))]
        print("  ".join([*cells, last]).rstrip())


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    found = [line for line in lines(sys.argv[1]) if line["bench"] == "celery_noop"]
    if found:
        show(celery_rows(found), 3)
        print()
    peers = {key_and_mode(line): line for line in lines(sys.argv[2])}
    rows = [("benchmark", "ours", "peer", "faster", "our memory", "peer's", "smaller", "")]
    shown = set()
    for line in lines(sys.argv[1]):
        if line["bench"] == "celery_noop":
            continue
        peer = peers.get(key_and_mode(line)) or peers.get((*key(line), None), {})
        shown.add(key_and_mode(peer))
        ours, theirs = line.get("seconds"), peer.get("seconds")
        rest = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in line.items() if k not in HIDDEN)
        rows.append((
            name(line), seconds(ours), seconds(theirs), ratio(theirs, ours),
            mib(memory(line)), mib(memory(peer)), ratio(memory(peer), memory(line)), rest,
        ))
    for line in peers.values():
        if key_and_mode(line) not in shown:
            rows.append((name(line), "-", seconds(line.get("seconds")), "-", "-", mib(memory(line)), "-", ""))
    if len(rows) > 1:
        show(rows, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
