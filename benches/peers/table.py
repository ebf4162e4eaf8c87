"""Sets our measurements beside the peers': table.py OURS.jsonl PEERS.jsonl

Both files hold one JSON object per line. Lines belong together when `bench`, `targets`, `bins` and `batch` are equal, and
the `mode` (such as warm or cold); a line of a peer without a mode belongs to all of them. `seconds` and `peak_rss_mib` or `rss_mib` are compared.
Any other field is printed as it is; lines that are not JSON are skipped.
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


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    peers = {key_and_mode(line): line for line in lines(sys.argv[2])}
    rows = [("benchmark", "ours", "peer", "faster", "our memory", "peer's", "smaller", "")]
    shown = set()
    for line in lines(sys.argv[1]):
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others, last = row
        cells = [first.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        print("  ".join([*cells, last]).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
