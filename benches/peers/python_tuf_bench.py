"""python-tuf on the work our benchmark does: one JSON line per measurement.

    python_tuf_bench.py [--flat 10000,100000,1000000] [--bins-targets 1000000] [--bins 16384] [--batch 10000]
                        [--runs 3] [--dir DIR] [--skip-flat] [--skip-bins]

flat_add_one    load targets.json, add one target, sign, write. One process per size, so that its peak of resident
                memory is its own; "with snapshot and timestamp" is the same with what follows, and "cold start" a
                process that does it once, from before it is started until it has ended, as ours is measured.
bins_add_one    the same in a repository of hashed bins: the bin, snapshot, timestamp.
bins_batch      a batch of new targets in that repository: every bin it touches, snapshot, timestamp.

Every file that is written is fsynced, as ours are; python-tuf by itself would not. The repository is made first and is
not part of any figure. Lines: {"bench", "peer", "mode", "targets", "bins", "batch", "seconds", "seconds_all", "peak_rss_mib"};
"seconds" is the median, and "seconds_all" every run.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

EXPIRES = datetime(2099, 1, 1, tzinfo=timezone.utc)
# As python-tuf writes when it is not told otherwise; PYTHON_TUF_COMPACT=1 for its compact form, which is about twice as fast.
SERIALIZER = JSONSerializer(compact=os.environ.get("PYTHON_TUF_COMPACT") == "1")


def target(number):
    """A target of a package index: a 36-character path, one hash."""
    name = f"packages/{number:018d}.tar.gz"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return name, TargetFile(1000 + number % 1000, {"sha256": digest}, name)


def write(metadata, signer, path):
    metadata.sign(signer)
    data = metadata.to_bytes(SERIALIZER)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return data


def described(version, data):
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def sync_directory(directory):
    handle = os.open(directory, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def peak_rss_mib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def report(bench, seconds, peak=True, **fields):
    line = {"bench": bench, "peer": "python-tuf", **fields}
    line.update(seconds=statistics.median(seconds), seconds_all=seconds)
    if peak:
        line.update(peak_rss_mib=round(peak_rss_mib(), 1))
    print(json.dumps(line), flush=True)


# --- flat -------------------------------------------------------------------------------------------------------------


def make_flat(directory, count, signer):
    targets = Targets(expires=EXPIRES)
    for number in range(count):
        name, file = target(number)
        targets.targets[name] = file
    data = write(Metadata(targets), signer, os.path.join(directory, "1.targets.json"))
    snapshot = Snapshot(expires=EXPIRES, meta={"targets.json": described(1, data)})
    data = write(Metadata(snapshot), signer, os.path.join(directory, "1.snapshot.json"))
    write(Metadata(Timestamp(expires=EXPIRES, snapshot_meta=described(1, data))), signer, os.path.join(directory, "timestamp.json"))


def finish(directory, signer, version, changed):
    """Snapshot and timestamp for the roles in `changed` ({name: (version, bytes)})."""
    snapshot = Metadata.from_file(os.path.join(directory, f"{version}.snapshot.json"))
    for name, (role_version, data) in changed.items():
        snapshot.signed.meta[f"{name}.json"] = described(role_version, data)
    snapshot.signed.version = version + 1
    data = write(snapshot, signer, os.path.join(directory, f"{version + 1}.snapshot.json"))
    sync_directory(directory)
    timestamp = Metadata.from_file(os.path.join(directory, "timestamp.json"))
    timestamp.signed.version = version + 1
    timestamp.signed.snapshot_meta = described(version + 1, data)
    write(timestamp, signer, os.path.join(directory, ".timestamp.json"))
    os.rename(os.path.join(directory, ".timestamp.json"), os.path.join(directory, "timestamp.json"))
    sync_directory(directory)


def add_to_flat(directory, count, signer, version):
    targets = Metadata.from_file(os.path.join(directory, f"{version}.targets.json"))
    name, file = target(count + version)
    targets.signed.targets[name] = file
    targets.signed.version = version + 1
    data = write(targets, signer, os.path.join(directory, f"{version + 1}.targets.json"))
    sync_directory(directory)
    return data


def flat(directory, count, runs):
    alone, chain = [], []
    signer = load_signer(directory)
    for version in range(1, runs + 1):
        started = time.monotonic()
        data = add_to_flat(directory, count, signer, version)
        alone.append(time.monotonic() - started)
        finish(directory, signer, version, {"targets": (version + 1, data)})
        chain.append(time.monotonic() - started)
        del data
    report("flat_add_one", alone, mode="worker running", targets=count)
    report("flat_add_one", chain, mode="with snapshot and timestamp", targets=count)


def flat_cold(options, directory, count):
    seconds = []
    for version in range(options.runs + 1, 2 * options.runs + 1):
        started = time.monotonic()
        in_process(options, "--step", "flat-once", directory, count, version)
        seconds.append(time.monotonic() - started)
    report("flat_add_one", seconds, peak=False, mode="cold start", targets=count)


# --- hashed bins ------------------------------------------------------------------------------------------------------


def bin_of(name, bins):
    prefix_bits = bins.bit_length() - 1
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) >> (32 - prefix_bits)


def bin_name(number, bins):
    digits = ((bins.bit_length() - 1) + 3) // 4
    span = 16**digits // bins
    low = number * span
    return f"bin_{low:0{digits}x}-{low + span - 1:0{digits}x}"


def make_bins(directory, count, bins, signer):
    content = [{} for _ in range(bins)]
    for number in range(count):
        name, file = target(number)
        content[bin_of(name, bins)][name] = file
    digits = ((bins.bit_length() - 1) + 3) // 4
    span = 16**digits // bins
    delegations = Delegations({signer.public_key.keyid: signer.public_key}, {})
    meta = {}
    for number, targets in enumerate(content):
        name = bin_name(number, bins)
        prefixes = [f"{prefix:0{digits}x}" for prefix in range(number * span, (number + 1) * span)]
        delegations.roles[name] = DelegatedRole(
            name, [signer.public_key.keyid], 1, False, path_hash_prefixes=prefixes
        )
        # Not fsynced one by one: making the repository is not what is measured.
        metadata = Metadata(Targets(expires=EXPIRES, targets=targets))
        metadata.sign(signer)
        data = metadata.to_bytes(SERIALIZER)
        with open(os.path.join(directory, f"1.{name}.json"), "wb") as file:
            file.write(data)
        meta[f"{name}.json"] = described(1, data)
        content[number] = None
    data = write(Metadata(Targets(expires=EXPIRES, delegations=delegations)), signer, os.path.join(directory, "1.targets.json"))
    meta["targets.json"] = described(1, data)
    data = write(Metadata(Snapshot(expires=EXPIRES, meta=meta)), signer, os.path.join(directory, "1.snapshot.json"))
    write(Metadata(Timestamp(expires=EXPIRES, snapshot_meta=described(1, data))), signer, os.path.join(directory, "timestamp.json"))
    os.sync()


def add_to_bins(directory, signer, versions, version, bins, numbers):
    touched = {}
    for number in numbers:
        name, file = target(number)
        touched.setdefault(bin_name(bin_of(name, bins), bins), []).append((name, file))
    changed = {}
    for role, files in touched.items():
        old = versions.get(role, 1)
        metadata = Metadata.from_file(os.path.join(directory, f"{old}.{role}.json"))
        for name, file in files:
            metadata.signed.targets[name] = file
        metadata.signed.version = old + 1
        data = write(metadata, signer, os.path.join(directory, f"{old + 1}.{role}.json"))
        changed[role] = (old + 1, data)
        versions[role] = old + 1
    finish(directory, signer, version, changed)


def hashed_bins(directory, count, bins, batch, runs):
    signer = load_signer(directory)
    versions = {}
    version = 1
    forget_peak()
    seconds = []
    for run in range(max(runs, 10)):
        started = time.monotonic()
        add_to_bins(directory, signer, versions, version, bins, [count + run])
        seconds.append(time.monotonic() - started)
        version += 1
    report("bins_add_one", seconds, targets=count, bins=bins)
    forget_peak()
    started = time.monotonic()
    add_to_bins(directory, signer, versions, version, bins, range(2 * count, 2 * count + batch))
    report("bins_batch", [time.monotonic() - started], targets=count, bins=bins, batch=batch)


# --- processes --------------------------------------------------------------------------------------------------------


def load_signer(directory):
    with open(os.path.join(directory, "key"), "rb") as file:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return CryptoSigner(load_pem_private_key(file.read(), None))


def make_key(directory):
    with open(os.path.join(directory, "key"), "wb") as file:
        file.write(CryptoSigner.generate_ed25519().private_bytes)


def in_process(options, *arguments):
    """Runs one step in a process of its own."""
    command = [sys.executable, "-B", os.path.abspath(__file__), "--runs", str(options.runs), *map(str, arguments)]
    subprocess.run(command, check=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--flat", default="10000,100000,1000000")
    arguments.add_argument("--bins-targets", type=int, default=1_000_000)
    arguments.add_argument("--bins", type=int, default=16384)
    arguments.add_argument("--batch", type=int, default=10_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--dir", help="where the repositories are made (needs about 2 GB); default: a temporary one")
    arguments.add_argument("--skip-flat", action="store_true")
    arguments.add_argument("--skip-bins", action="store_true")
    arguments.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = arguments.parse_args()

    if options.step:
        what, directory, *sizes = options.step
        sizes = [int(size) for size in sizes]
        steps = {
            "make-flat": lambda: make_flat(directory, sizes[0], load_signer(directory)),
            "flat": lambda: flat(directory, sizes[0], options.runs),
            "flat-once": lambda: add_to_flat(directory, sizes[0], load_signer(directory), sizes[1]),
            "make-bins": lambda: make_bins(directory, sizes[0], sizes[1], load_signer(directory)),
            "bins": lambda: hashed_bins(directory, sizes[0], sizes[1], sizes[2], options.runs),
        }
        steps[what]()
        return 0

    if options.bins & (options.bins - 1) or not 2 <= options.bins <= 65536:
        arguments.error("--bins must be a power of two from 2 to 65536")
    base = tempfile.mkdtemp(prefix="python-tuf-bench-", dir=options.dir)
    try:
        if not options.skip_flat:
            for count in (int(size) for size in options.flat.split(",")):
                directory = tempfile.mkdtemp(dir=base)
                make_key(directory)
                in_process(options, "--step", "make-flat", directory, count)
                in_process(options, "--step", "flat", directory, count)
                flat_cold(options, directory, count)
                shutil.rmtree(directory)
        if not options.skip_bins:
            directory = tempfile.mkdtemp(dir=base)
            make_key(directory)
            in_process(options, "--step", "make-bins", directory, options.bins_targets, options.bins)
            in_process(options, "--step", "bins", directory, options.bins_targets, options.bins, options.batch)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
