#!/usr/bin/env python3
"""Builds `target/dist/tollward`, the binary as it is released: laid out by what it does under load.

First a binary that counts which ways its code takes is built and put under the load of `benches/check`; then the one
that is released is built by those counts (profile-guided optimization). What is often taken stands together and in
line, and a Check takes about a quarter less of a core than in a plain `cargo build --release`.

Needs what `cargo build --release` needs, and LLVM's `llvm-profdata`, 19 or later: of rustup (`rustup component add
llvm-tools`), on PATH, or where LLVM_PROFDATA says. With `redis-server` on PATH, counters in Redis are among what it is
trained with. A second run with nothing changed takes seconds. `--tool` says which llvm-profdata it would use.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, "target")
WORK = os.path.join(TARGET, "pgo")
DIST = os.path.join(TARGET, "dist", "tollward")
CARGO = os.environ.get("CARGO", "cargo")

# What a busy gateway does, each for a few seconds. The names are those of `benches/README.md`.
TRAINING = ["check_embedded", "check_embedded_raw_headers", "call_metered", "check_jwt_warm", "check_jwt_cold_rs256",
            "check_introspection_warm"]
TRAINING_WITH_REDIS = ["check_redis", "check_redis_5_limits"]

# The first release of LLVM that reads what the compiler's counting code writes.
OLDEST_LLVM = 19


def say(message):
    print("release: " + message, file=sys.stderr, flush=True)


def fail(message):
    sys.exit("release: " + message)


def run(command, **environment):
    result = subprocess.run(command, cwd=ROOT, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        fail("this failed: " + " ".join(command))


def said_by(*command):
    """What a command writes; empty where it is not there or fails."""
    try:
        result = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return result.stdout if result.returncode == 0 else ""


def llvm_version(program):
    number = re.search(r"LLVM version (\d+)", said_by(program, "--version"))
    return int(number.group(1)) if number else 0


def profdata(host):
    """The `llvm-profdata` to use: the one that is named, the compiler's own, or the newest one there is."""
    named = os.environ.get("LLVM_PROFDATA")
    sysroot = said_by(os.environ.get("RUSTC", "rustc"), "--print", "sysroot").strip()
    own = os.path.join(sysroot, "lib", "rustlib", host, "bin", "llvm-profdata")
    if named or os.path.exists(own):
        return named or own
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [program for folder in folders for program in glob.glob(os.path.join(folder, "llvm-profdata*"))]
    version, program = max(((llvm_version(program), program) for program in found), default=(0, None))
    if version < OLDEST_LLVM:
        fail("llvm-profdata {} or later is needed: `rustup component add llvm-tools`, or `apt-get install llvm-{}`, or "
             "LLVM_PROFDATA=/where/it/is. A binary that is not trained is built by `cargo build --release`."
             .format(OLDEST_LLVM, OLDEST_LLVM))
    return program


def build(host, name, flag):
    """Builds the binary with a compiler flag, in a folder of its own; build scripts are left as they are. Nothing else may
    differ between two builds: settings of the profile are part of the names by which what was counted is found again."""
    flags = " ".join(part for part in (os.environ.get("RUSTFLAGS", ""), flag) if part)
    folder = os.path.join(WORK, name)
    run([CARGO, "build", "--locked", "--release", "--bin", "tollward", "--target", host, "--target-dir", folder],
        RUSTFLAGS=flags)
    return os.path.join(folder, host, "release", "tollward")


def load():
    """The benchmark, which makes the load. How fast it is does not matter here."""
    command = [CARGO, "build", "--locked", "--bench", "check", "--message-format=json-render-diagnostics"]
    result = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    built = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    for artifact in built:
        if artifact.get("executable") and artifact["target"]["kind"] == ["bench"]:
            return artifact["executable"]
    fail("this failed: " + " ".join(command))


def train(counting, loading, contenders, profile, merge):
    with tempfile.TemporaryDirectory(dir=WORK) as counts:
        run([loading], BENCH_TOLLWARD=counting, BENCH_ONLY=",".join(contenders), BENCH_ROUNDS="1", BENCH_SECONDS="2",
            LLVM_PROFILE_FILE=os.path.join(counts, "%p-%m.profraw"),
            # Its figures are of no use, and stay out of the way of those that are.
            CARGO_TARGET_DIR=counts)
        written = glob.glob(os.path.join(counts, "*.profraw"))
        if not written:
            fail("the binary under load counted nothing")
        run([merge, "merge", "--output", profile + ".new"] + written)
    os.replace(profile + ".new", profile)


def main():
    if sys.argv[1:] not in ([], ["--tool"]):
        sys.exit(__doc__.strip() + "\n\nusage: scripts/release.py [--tool]")
    began = time.monotonic()
    host = re.search(r"host: (\S+)", said_by(os.environ.get("RUSTC", "rustc"), "-vV"))
    if not host:
        fail("rustc is needed (rustup.rs)")
    host = host.group(1)
    merge = profdata(host)
    if sys.argv[1:]:
        return print(merge)
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        fail("Linux and two cores are needed, one for the binary and one for the load; `cargo build --release` is "
             "content with less")
    os.makedirs(WORK, exist_ok=True)
    say("1 of 3: the binary that counts")
    # Where counts go is said when it runs; this is for whoever runs it by hand.
    counting = build(host, "count", "-Cprofile-generate=" + os.path.join(WORK, "by-hand"))
    loading = load()
    contenders = TRAINING + (TRAINING_WITH_REDIS if shutil.which("redis-server") else [])
    digest = hashlib.sha256(" ".join(contenders).encode())
    for path in (counting, loading):
        with open(path, "rb") as binary:
            digest.update(binary.read())
    # By name, since cargo does not look into the file: other code or another load, another profile.
    profile = os.path.join(WORK, digest.hexdigest()[:16] + ".profdata")
    if not os.path.exists(profile):
        say("2 of 3: under load, for about a minute")
        train(counting, loading, contenders, profile, merge)
    say("3 of 3: the binary that is released")
    built = build(host, "use", "-Cprofile-use=" + profile)
    os.makedirs(os.path.dirname(DIST), exist_ok=True)
    shutil.copy2(built, DIST + ".new")
    # Names of functions are a seventh of it. Whoever has a linker has this too.
    run(["strip", "--strip-all", DIST + ".new"])
    os.replace(DIST + ".new", DIST)
    say("{} ({:.1f} MB, {:.0f} s)".format(
        os.path.relpath(DIST, ROOT), os.path.getsize(DIST) / 1e6, time.monotonic() - began))


if __name__ == "__main__":
    main()
