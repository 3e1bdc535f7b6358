#!/usr/bin/env python3
"""Runs Tollward, Envoy and a sample upstream in one terminal, and prints lines to try.

One Ctrl-C (or SIGTERM) stops all of them; when one ends, the others are stopped and its log is shown. With
OPENAI_API_KEY set the upstream is the real provider. `--check` runs every printed line itself, compares what it answers
with what is promised, and ends.
"""

import argparse
import ctypes
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STARTED_WITHIN = 30.0


class Ports:
    """Where everything listens: the ports of the shipped files; free ones for `--check`, which may run beside."""

    gate, upstream, admin, grpc, http, ops = 10000, 10001, 10002, 9001, 9002, 9003

    @classmethod
    def choose_free(cls, envoy, tollward):
        """Moves every port to a free one, in the texts of both files too."""
        names = ("gate", "upstream", "admin", "grpc", "http", "ops")
        probes = [socket.socket() for _ in names]
        for name, probe in zip(names, probes):
            probe.bind(("127.0.0.1", 0))
            old, new = str(getattr(cls, name)), str(probe.getsockname()[1])
            envoy = envoy.replace("port_value: " + old, "port_value: " + new)
            tollward = tollward.replace("127.0.0.1:" + old, "127.0.0.1:" + new)
            setattr(cls, name, int(new))
        for probe in probes:
            probe.close()
        return envoy, tollward


class Failed(Exception):
    """Something did not start or did not answer as promised; the text says what."""


# --- processes -------------------------------------------------------------------------------------------------------

def die_with_parent():
    """On Linux a child is told to stop when this process is killed in a way it cannot handle."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Fleet:
    """The processes, each with a log file of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.members = []

    def start(self, name, command, env):
        log_path = os.path.join(self.folder, name + ".log")
        with open(log_path, "wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        self.members.append((name, process, log_path))

    def ended(self):
        """What to say of the first process that ended, or None while all run."""
        for name, process, log_path in self.members:
            if process.poll() is not None:
                with open(log_path, errors="replace") as log:
                    tail = "".join(log.readlines()[-40:])
                return "{} ended with status {}; its log:\n{}".format(name, process.returncode, tail)
        return None

    def stop(self):
        """Envoy first, so that no request finds the gate gone; nothing is left running."""
        for _, process, _ in reversed(self.members):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(what, ready, fleet):
    """Waits until `ready` holds; fails when a process ends or the time is over."""
    deadline = time.monotonic() + STARTED_WITHIN
    while not ready():
        ended = fleet.ended()
        if ended:
            raise Failed(ended)
        if time.monotonic() > deadline:
            logs = []
            for name, _, path in fleet.members:
                with open(path, errors="replace") as log:
                    logs.append("--- {}\n{}".format(name, "".join(log.readlines()[-20:])))
            raise Failed("{} is not ready after {:.0f} s\n{}".format(what, STARTED_WITHIN, "".join(logs)))
        time.sleep(0.05)


# --- HTTP ------------------------------------------------------------------------------------------------------------

def call(method, url, body=None, key=None):
    """Status and text of an answer; (0, reason) while nothing listens."""
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = "Bearer " + key
    data = json.dumps(body).encode() if body is not None else None
    try:
        # No proxy: everything is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, data, headers, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, urllib.error.URLError) as error:
        return 0, str(error)


def create_key(master, **attributes):
    status, text = call("POST", "http://127.0.0.1:{}/key/generate".format(Ports.http), attributes, master)
    if status != 200:
        raise Failed("POST /key/generate answered {}: {}".format(status, text))
    return json.loads(text)["key"]


# --- configuration ---------------------------------------------------------------------------------------------------

def replace_once(text, old, new):
    if text.count(old) != 1:
        raise Failed("the Envoy or Tollward configuration has changed: {!r} is there {} times".format(old, text.count(old)))
    return text.replace(old, new)


def lead_to_openai(envoy, tollward):
    """The shipped files with the real provider behind them: TLS, its name as host, its key injected by Tollward."""
    route = "route: {cluster: upstream, timeout: 0s"
    if route not in envoy:
        raise Failed("deploy/envoy/envoy.yaml has changed: no {}}}".format(route))
    envoy = envoy.replace(route, route + ", host_rewrite_literal: api.openai.com")
    envoy = replace_once(envoy, "tollward_provider: sample", "tollward_provider: openai")
    trust = next((path for path in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                    "/etc/ssl/cert.pem") if os.path.exists(path)), None)
    if trust is None:
        raise Failed("no bundle of certificate authorities found: install ca-certificates")
    start = envoy.index("  - name: upstream\n")
    end = envoy.index("\n\n", start)
    envoy = envoy[:start] + """\
  - name: upstream
    type: STRICT_DNS
    dns_lookup_family: V4_PREFERRED
    connect_timeout: 10s
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: api.openai.com
        common_tls_context:
          validation_context:
            trusted_ca: {filename: %s}
            match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: api.openai.com}}]
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: api.openai.com, port_value: 443}}}""" % trust + envoy[end:]
    tollward = re.sub(r"\{model: (openai/[^}]+)\}", r"{model: \1, api_key: os.environ/OPENAI_API_KEY}", tollward)
    return envoy, tollward


# --- what is printed -------------------------------------------------------------------------------------------------

class Line:
    """One line to paste: what it shows, the command, and whether what it printed is what was promised."""

    def __init__(self, title, command, promised):
        self.title, self.command, self.promised = title, command, promised


def curl(key, body, path="/v1/chat/completions", options="", port=None):
    data = " -d {}".format(shlex.quote(json.dumps(body))) if body is not None else ""
    return "curl -sS {}http://127.0.0.1:{}{} -H 'authorization: Bearer {}' -H 'content-type: application/json'{}".format(
        options + " " if options else "", port or Ports.gate, path, key, data)


def lines(master, real, tools):
    """The lines, with keys made for them."""
    hello = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
    first = create_key(master, key_alias="first-key", models=["gpt-4o-mini"])
    limited = create_key(master, key_alias="three-a-minute", models=["gpt-4o-mini"], rpm_limit=3)
    status = "-o /dev/null -w '%{http_code}\\n'"
    if real:
        spent = create_key(master, key_alias="no-money", models=["gpt-4o-mini"], max_budget=0.0000001)
        budget_line = curl(spent, hello)
    else:
        # The sample upstream reports the usage it is told to, so that one call spends the whole budget.
        spent = create_key(master, key_alias="a-tenth-of-a-cent", models=["gpt-4o-mini"], max_budget=0.001)
        budget_line = "{} -H 'x-upstream-usage: 1000,2000'; sleep 1; {}".format(
            curl(spent, hello, options="-o /dev/null"), curl(spent, hello))
    check = {"attributes": {"request": {"http": {
        "method": "POST", "path": "/v1/chat/completions",
        "headers": {"authorization": "Bearer " + first, "content-type": "application/json"},
        "body": json.dumps(hello)}}}}
    grpcurl = os.path.relpath(os.path.join(tools, "grpcurl"), os.getcwd())
    if not grpcurl.startswith("."):
        grpcurl = "./" + grpcurl

    def error(kind):
        return lambda out: json.loads(out.splitlines()[-1])["error"]["type"] == kind

    return first, [
        Line("an allowed call", curl(first, hello), lambda out: "choices" in json.loads(out)),
        Line("a streamed call", curl(first, dict(hello, stream=True), options="-N"),
             lambda out: out.rstrip().endswith("data: [DONE]")),
        Line("a model the key does not have: 403", curl(first, dict(hello, model="gpt-4o")),
             error("key_model_access_denied")),
        Line("three requests a minute, the fourth is told to wait: 429",
             "for i in 1 2 3 4; do {}; done".format(curl(limited, hello, options=status)),
             lambda out: out.split() == ["200", "200", "200", "429"]),
        Line("a spent budget: 429", budget_line, error("budget_exceeded")),
        Line("what the key has spent",
             curl(master, None, path="/key/info?key=" + first, port=Ports.http), lambda out: json.loads(out)["info"]["spend"] > 0),
        Line("the same decision, asked as Envoy asks it",
             "{} -plaintext -d @ localhost:{} envoy.service.auth.v3.Authorization/Check <<'JSON'\n{}\nJSON".format(
                 grpcurl, Ports.grpc, json.dumps(check)),
             lambda out: "okResponse" in json.loads(out)),
    ]


def show(first, master, printed, folder, real):
    print("\ntollward is ready\n")
    print("  gate      http://127.0.0.1:{}   ({})".format(Ports.gate, "api.openai.com" if real else "a sample upstream answers"))
    print("  manage    http://127.0.0.1:{}   master key {}".format(Ports.http, master))
    print("  metrics   http://127.0.0.1:{}/metrics".format(Ports.ops))
    print("  logs      {}".format(folder))
    print("  first key {}\n".format(first))
    for line in printed:
        print("# {}\n{}\n".format(line.title, line.command))
    print("Ctrl-C stops everything.", flush=True)


def verify(printed, fleet):
    """Runs what was printed. A line may need a moment (a settlement on its way), never more than ten seconds."""
    for line in printed:
        deadline = time.monotonic() + 10
        while True:
            done = subprocess.run(["bash", "-c", line.command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, timeout=60)
            try:
                kept = line.promised(done.stdout)
            except (ValueError, KeyError, IndexError, TypeError):
                kept = False
            if kept:
                print("ok: " + line.title, flush=True)
                break
            # Only reading may be repeated: the other lines spend or count.
            if "/key/info" not in line.command or time.monotonic() > deadline:
                raise Failed("{}\n$ {}\n{}{}\n{}".format(line.title, line.command, done.stdout, done.stderr,
                                                         fleet.ended() or ""))


# --- all of it -------------------------------------------------------------------------------------------------------

def must_be_free(ports):
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise Failed("port {} is in use: stop what listens there first".format(port)) from None


def start(fleet, folder, tools, real, master, free_ports):
    binaries = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "debug")
    with open(os.path.join(ROOT, "deploy/envoy/envoy.yaml")) as file:
        envoy = file.read()
    with open(os.path.join(ROOT, "deploy/tollward.yaml")) as file:
        tollward = file.read()
    if free_ports:
        envoy, tollward = Ports.choose_free(envoy, tollward)
    if real:
        envoy, tollward = lead_to_openai(envoy, tollward)
    paths = {}
    for name, text in (("envoy", envoy), ("tollward", tollward)):
        paths[name] = os.path.join(folder, name + ".yaml")
        with open(paths[name], "w") as file:
            file.write(text)
    env = {name: value for name, value in os.environ.items() if name not in ("LITELLM_MASTER_KEY", "REDIS_URL")}
    env.update(TOLLWARD_MASTER_KEY=master, DATABASE_URL="sqlite://" + os.path.join(folder, "tollward.db"))

    must_be_free([Ports.gate, Ports.admin, Ports.grpc, Ports.http, Ports.ops] + ([] if real else [Ports.upstream]))
    fleet.start("tollward", [os.path.join(binaries, "tollward"), "serve", "--config", paths["tollward"]], env)
    if not real:
        fleet.start("upstream", [os.path.join(binaries, "examples", "upstream"), "--port", str(Ports.upstream)], env)
        wait_until("the upstream",
                   lambda: call("GET", "http://127.0.0.1:{}/_upstream/requests".format(Ports.upstream))[0] == 200, fleet)
    wait_until("Tollward", lambda: call("GET", "http://127.0.0.1:{}/readyz".format(Ports.ops))[0] == 200, fleet)
    # No hot restart: it would share memory with any other Envoy of this machine.
    fleet.start("envoy", [os.path.join(tools, "envoy"), "--config-path", paths["envoy"], "--disable-hot-restart",
                          "--concurrency", "2", "--log-level", "warning"], env)
    wait_until("Envoy", lambda: call("GET", "http://127.0.0.1:{}/ready".format(Ports.admin))[0] == 200, fleet)
    # A call without a credential goes through Envoy to Tollward and back: 401 says that both speak to each other.
    wait_until("the gate", lambda: call("GET", "http://127.0.0.1:{}/v1/models".format(Ports.gate))[0] == 401, fleet)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run the printed lines and compare their answers")
    options = parser.parse_args()
    tools = os.path.join(ROOT, ".tools", "bin")
    real = bool(os.environ.get("OPENAI_API_KEY")) and not options.check
    master = os.environ.get("TOLLWARD_MASTER_KEY") or "sk-" + secrets.token_urlsafe(24)
    folder = tempfile.mkdtemp(prefix="tollward-")
    fleet = Fleet(folder)

    def interrupted(_signal, _frame):
        raise KeyboardInterrupt

    # SIGINT too: a shell that starts this in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    failure = None
    try:
        start(fleet, folder, tools, real, master, options.check)
        first, printed = lines(master, real, tools)
        if options.check:
            verify(printed, fleet)
        else:
            show(first, master, printed, folder, real)
            while failure is None:
                time.sleep(0.2)
                failure = fleet.ended()
    except KeyboardInterrupt:
        pass
    except Failed as error:
        failure = str(error)
    finally:
        # From here on a second Ctrl-C must not leave anything behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        fleet.stop()
        if failure is None:
            shutil.rmtree(folder, ignore_errors=True)
    if failure is not None:
        sys.exit("run: {}\n(logs: {})".format(failure, folder))


if __name__ == "__main__":
    main()
