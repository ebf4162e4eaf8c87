#!/usr/bin/python3
"""Runs one private Redis for a test: its own port on loopback, its own data, its own password.

    private-redis.py --dir DIR [--tls]

Once it answers, one line of JSON says where it is:
    {"port": PORT, "password": "PASSWORD", "socket": "PATH", "pid": PID, "tls_port": PORT or null}
With --tls it also listens with TLS, asks clients for a certificate, and leaves `ca.pem` and `client.pem` in DIR.

It takes one command per line and answers each with one line of JSON, {"ok": true} or {"error": "..."}: `stop` (clean),
`kill` (as a power cut of the process), `start` (same port, same data), `freeze` and `thaw` (SIGSTOP and SIGCONT). What was
confirmed is on disk, so that a kill loses nothing. End of input ends the server and removes DIR, so it cannot outlive a
parent that was killed. Only the standard library is used.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

SERVER = "/usr/bin/redis-server"
DEADLINE = 60.0  # seconds


class Failed(Exception):
    """The server could not be brought into the state that was asked for."""


class Server:
    """One server and its directory."""

    def __init__(self, directory, tls):
        self.directory = directory
        self.tls = tls
        self.tls_port = None
        self.password = secrets.token_hex(16)
        self.port = None
        self.process = None
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self):
        """Starts the server and returns once it answers."""
        if self.running():
            return
        if not os.path.exists(SERVER):
            raise Failed(f"{SERVER} is missing: install Debian's redis-server")
        with open(os.open(self.path("redis.conf"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(
                f"""bind 127.0.0.1
port {self.port}
unixsocket {self.path("redis.sock")}
requirepass {self.password}
dir {self.directory}
save ""
appendonly yes
appendfsync always
daemonize no
{self.tls_lines()}"""
            )
        # The kernel ends the child with us, however we end.
        prefix = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                prefix + [SERVER, self.path("redis.conf")],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE
        while not self.answers():
            if self.process.poll() is not None:
                raise Failed(f"redis-server ended with status {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise Failed(f"redis-server is not ready:\n{self.tail()}")
            time.sleep(0.01)

    def tls_lines(self):
        if not self.tls:
            return ""
        if not os.path.exists(self.path("client.pem")):
            self.make_certificates()
        return f"""tls-port {self.tls_port}
tls-cert-file {self.path("server.crt")}
tls-key-file {self.path("server.key")}
tls-ca-cert-file {self.path("ca.pem")}
tls-auth-clients yes
"""

    def make_certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
        with open(self.path("extensions"), "w") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name in ("server", "client"):
            openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
            openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt", "-days", "2", "-extfile", "extensions")
        with open(self.path("client.pem"), "w") as file:
            for part in ("client.crt", "client.key"):
                with open(self.path(part)) as source:
                    file.write(source.read())

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                probe.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    more = probe.recv(100)
                    if not more:
                        return False
                    answer += more
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.running():
            try:
                os.kill(self.process.pid, number)
            except ProcessLookupError:
                pass

    def stop(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def tail(self):
        with open(self.path("log"), "rb") as file:
            return file.read()[-3000:].decode(errors="replace")


def say(answer):
    print(json.dumps(answer), flush=True)


def start_somewhere(server):
    """A port below the ephemeral range, so that no outgoing connection takes it during a restart."""
    for attempt in range(20):
        server.port = random.SystemRandom().randrange(20000, 32000)
        server.tls_port = random.SystemRandom().randrange(20000, 32000) if server.tls else None
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", server.port))
            except OSError:
                continue
        try:
            server.start()
            return
        except Failed:
            # The port may have been taken between the choice and the bind.
            server.kill()
            if attempt >= 3 or not os.path.exists(SERVER):
                raise
    raise Failed("no free port on loopback")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--dir", required=True, help="the server's directory; removed at the end")
    arguments.add_argument("--tls", action="store_true")
    options = arguments.parse_args()
    os.umask(0o077)

    def leave(_number, _frame):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # Ctrl-C reaches the whole foreground group; the parent decides when the server goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    server = Server(os.path.abspath(options.dir), options.tls)
    commands = {
        "start": server.start,
        "stop": server.stop,
        "kill": server.kill,
        "freeze": lambda: server.signal(signal.SIGSTOP),
        "thaw": lambda: server.signal(signal.SIGCONT),
    }
    try:
        start_somewhere(server)
        say(
            {
                "port": server.port,
                "password": server.password,
                "socket": server.path("redis.sock"),
                "pid": server.process.pid,
                "tls_port": server.tls_port,
            }
        )
        for line in sys.stdin:
            try:
                command = commands.get(line.strip())
                if command is None:
                    raise Failed(f"unknown command {line.strip()!r}")
                command()
                say({"ok": True})
            except Failed as failure:
                say({"error": str(failure)})
    except Failed as failure:
        say({"error": str(failure)})
        return 1
    finally:
        server.kill()
        if not os.environ.get("TUF_FLEET_TEST_KEEP"):
            shutil.rmtree(server.directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
