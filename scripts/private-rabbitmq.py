#!/usr/bin/python3
"""Runs one private RabbitMQ for tests: own ports on loopback, own data, own cookie, own epmd.

    private-rabbitmq.py --dir DIR                      the parent drives it over stdin and stdout
    private-rabbitmq.py --dir DIR --lease FILE         shared: stops when no process holds a shared lock on FILE
    private-rabbitmq.py --dir DIR --tls CERTIFICATES   it also listens with TLS, as server.crt with server.key of that
                                                        directory, for clients with a certificate signed by ca.pem

With --consumer-timeout SECONDS it waits so long for an acknowledgement, and looks every second.

Once the broker answers, one line of JSON says where it is:
    {"amqp": "amqp://USER:PASSWORD@127.0.0.1:PORT", "management": "http://127.0.0.1:PORT",
     "user": "USER", "password": "PASSWORD", "pid": PID, "amqps_port": PORT or null}

Driven over stdin it takes one command per line and answers each with one line of JSON, {"ok": true} or
{"error": "..."}: `stop` (clean), `kill` (as a power cut of the process), `start` (same ports, same data),
`freeze` and `thaw` (SIGSTOP and SIGCONT). End of input stops the broker and removes DIR, so it cannot outlive a
parent that was killed. Only the standard library is used.
"""

import argparse
import base64
import fcntl
import json
import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
START_DEADLINE = 120.0  # seconds; a cold start takes about 5, a machine that is compiling needs more
STOP_DEADLINE = 30.0
LEASE_LINGER = 60.0  # seconds without a tenant before a shared broker goes


class Failed(Exception):
    """The broker could not be brought into the state that was asked for."""


def free_port(taken):
    """A free loopback port below the ephemeral range, so that no outgoing connection takes it during a restart."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000, 32000)
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise Failed("no free port on loopback")


class Broker:
    """One broker, its epmd and its directory."""

    def __init__(self, directory, parent_gone, tls=None, consumer_timeout=None):
        self.directory = directory
        self.tls = tls
        self.consumer_timeout = consumer_timeout
        self.parent_gone = parent_gone
        self.user = "fleet"
        self.password = secrets.token_hex(16)
        self.cookie = secrets.token_hex(16)
        self.node = "fleet-" + secrets.token_hex(4) + "@localhost"
        self.epmd = None
        self.server = None
        self.log = None
        self.choose_ports()

    def choose_ports(self):
        taken = set()
        self.amqp_port = free_port(taken)
        self.management_port = free_port(taken)
        self.dist_port = free_port(taken)
        self.epmd_port = free_port(taken)
        self.amqps_port = free_port(taken) if self.tls else None

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    def configure(self):
        for name in ("", "home", "mnesia", "log"):
            os.makedirs(self.path(name), mode=0o700, exist_ok=True)
        cookie = self.path("home", ".erlang.cookie")
        if not os.path.exists(cookie):
            self.write("home/.erlang.cookie", self.cookie)
            os.chmod(cookie, 0o400)
        self.write("enabled_plugins", "[rabbitmq_management].\n")
        self.write(
            "rabbitmq.conf",
            f"""listeners.tcp.local = 127.0.0.1:{self.amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {self.management_port}
default_user = {self.user}
default_pass = {self.password}
default_user_tags.administrator = true
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
collect_statistics_interval = 1000
log.console = false
log.file.level = info
{self.tls_lines()}""",
        )
        if self.consumer_timeout is not None:
            milliseconds = 1000 * self.consumer_timeout
            self.write(
                "advanced.config",
                f"[{{rabbit, [{{consumer_timeout, {milliseconds}}}, {{channel_tick_interval, 1000}}]}}].\n",
            )

    def tls_lines(self):
        if not self.tls:
            return ""
        return f"""listeners.ssl.local = 127.0.0.1:{self.amqps_port}
ssl_options.cacertfile = {os.path.join(self.tls, "ca.pem")}
ssl_options.certfile = {os.path.join(self.tls, "server.crt")}
ssl_options.keyfile = {os.path.join(self.tls, "server.key")}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""

    def environment(self):
        erl = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": self.path("home"),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script then execs the VM: one process, one pid, plain signals
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": self.path("mnesia"),
            "RABBITMQ_LOG_BASE": self.path("log"),
            "RABBITMQ_PID_FILE": self.path("rabbitmq.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": self.path("generated"),
            "RABBITMQ_CONFIG_FILE": self.path("rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": self.path("advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.path("enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erl,
        }

    def spawn(self, command):
        # The kernel ends the child with us, however we end.
        prefix = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        return subprocess.Popen(
            prefix + command,
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def start(self):
        """Starts the broker and returns once its listener and its API answer."""
        if self.running():
            return
        if not os.path.exists(SERVER):
            raise Failed(f"{SERVER} is missing: install Debian's rabbitmq-server")
        self.configure()
        if self.log is None:
            self.log = open(self.path("log", "console.log"), "ab")
        if self.epmd is None or self.epmd.poll() is not None:
            # Our own, in the foreground: the one Erlang starts by itself would be a daemon that nothing stops.
            self.epmd = self.spawn(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"])
            self.wait_until(self.epmd, lambda: connects(self.epmd_port), "epmd")
        self.server = self.spawn([SERVER, "-noinput"])
        self.wait_until(self.server, self.ready, "rabbitmq-server")

    def wait_until(self, process, condition, what):
        deadline = time.monotonic() + START_DEADLINE
        while not condition():
            if process.poll() is not None:
                raise Failed(f"{what} ended with status {process.returncode}:\n{self.tail()}")
            if self.parent_gone():
                raise SystemExit(1)
            if time.monotonic() > deadline:
                raise Failed(f"{what} is not ready after {START_DEADLINE:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    def ready(self):
        ports = [self.amqp_port] + ([self.amqps_port] if self.tls else [])
        return all(connects(port) for port in ports) and self.api_answers()

    def api_answers(self):
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/health/checks/port-listener/{self.amqp_port}",
            headers={"Authorization": "Basic " + token},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def running(self):
        return self.server is not None and self.server.poll() is None

    def signal(self, number):
        if self.running():
            try:
                os.killpg(self.server.pid, number)
            except ProcessLookupError:
                pass

    def stop(self):
        """The clean way: the broker closes its connections and flushes."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_DEADLINE
        while self.running():
            if self.parent_gone() or time.monotonic() > deadline:
                self.kill()
            time.sleep(0.05)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.server is not None:
            self.server.wait()

    def destroy(self):
        """Nothing of a test broker is worth a clean stop."""
        self.kill()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()
        if not os.environ.get("TUF_FLEET_TEST_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def tail(self):
        text = []
        log = self.path("log")
        for name in sorted(os.listdir(log)) if os.path.isdir(log) else []:
            with open(os.path.join(log, name), "rb") as file:
                text.append(f"--- {name}\n" + file.read()[-3000:].decode(errors="replace"))
        return "\n".join(text)

    def endpoint(self):
        return {
            "amqp": f"amqp://{self.user}:{self.password}@127.0.0.1:{self.amqp_port}",
            "management": f"http://127.0.0.1:{self.management_port}",
            "user": self.user,
            "password": self.password,
            "pid": self.server.pid,
            "amqps_port": self.amqps_port,
        }


def connects(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def input_ended():
    """Whether the other end of our input is closed, which a parent that was killed closes as well."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & select.POLLHUP and not event & select.POLLIN for _, event in poll.poll(0))


def say(answer):
    print(json.dumps(answer), flush=True)


def start_somewhere(broker):
    """The first start: a port may be taken between the choice and the bind, so other ones are tried."""
    for attempt in range(3):
        try:
            broker.start()
            return
        except Failed:
            broker.kill()
            if attempt == 2 or not os.path.exists(SERVER):
                raise
            if broker.epmd is not None:
                broker.epmd.kill()
                broker.epmd.wait()
                broker.epmd = None
            broker.choose_ports()


def serve(broker):
    commands = {
        "start": broker.start,
        "stop": broker.stop,
        "kill": broker.kill,
        "freeze": lambda: broker.signal(signal.SIGSTOP),
        "thaw": lambda: broker.signal(signal.SIGCONT),
    }
    for line in sys.stdin:
        command = commands.get(line.strip())
        try:
            if command is None:
                raise Failed(f"unknown command {line.strip()!r}")
            command()
            say({"ok": True})
        except Failed as failure:
            say({"error": str(failure)})


def serve_tenants(broker, lease):
    """Returns, holding the lease alone, once no process has held it for a while."""
    with open(lease, "a") as file:
        idle_since = None
        while broker.running():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                idle_since = None
            else:
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > LEASE_LINGER:
                    broker.destroy()
                    return
                fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--dir", required=True, help="the broker's directory; removed at the end")
    arguments.add_argument("--lease", help="stop when no process holds a shared lock on this file")
    arguments.add_argument("--consumer-timeout", type=int, help="seconds a consumer may take to acknowledge")
    arguments.add_argument("--tls", metavar="CERTIFICATES")
    options = arguments.parse_args()
    os.umask(0o077)

    def leave(_number, _frame):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # Ctrl-C reaches the whole foreground group; the parent decides when the broker goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    parent_gone = (lambda: False) if options.lease else input_ended
    broker = Broker(os.path.abspath(options.dir), parent_gone, options.tls, options.consumer_timeout)
    try:
        start_somewhere(broker)
        say(broker.endpoint())
        if options.lease:
            serve_tenants(broker, options.lease)
        else:
            serve(broker)
    except Failed as failure:
        say({"error": str(failure)})
        return 1
    finally:
        broker.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
