"""How time and memory grow with the size of a bundle and the number of files: `growth(bench)` measures, `plot(rows, to)` draws.

The files are made up: half of each block is random, so that it compresses as a program does.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time

BLOCK = 1 << 20
MEGABYTE = 1_000_000
# Of one file in infra/.
LARGE = 50 * MEGABYTE
SMALL = 1_000


class Run:
    """Seconds, and the peak memory of the program alone, without those that it starts, in MiB."""

    def __init__(self, arguments, folder, env):
        began, self.peak = time.monotonic(), 0.0
        process = subprocess.Popen(arguments, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        ended = threading.Event()
        watcher = threading.Thread(target=self.watch, args=(process.pid, ended))
        watcher.start()
        text, _ = process.communicate()
        self.wall = time.monotonic() - began
        ended.set()
        watcher.join()
        if process.returncode:
            sys.exit(f"{arguments} ended with {process.returncode}:\n{text}")

    def watch(self, pid, ended):
        status = pathlib.Path(f"/proc/{pid}/status")
        while not ended.wait(0.005):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            peaks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
            self.peak = max([self.peak, *peaks])


def blob(path, size, chance):
    """Half of it is random."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        while size > 0:
            block = min(size, BLOCK)
            file.write(chance.randbytes(block // 2) + bytes(block - block // 2))
            size -= block


def bundle_of(bench, megabytes):
    chance = random.Random(megabytes)
    folder = bench.component("infrastructure", {"infra/main.tf": ""})
    folder = folder.rename(folder.parent / f"size-{megabytes}")
    left = megabytes * MEGABYTE
    for number in range(left // LARGE + 1):
        blob(folder / f"infra/{number}.bin", min(left, LARGE), chance)
        left -= LARGE
        if left <= 0:
            break
    return folder


def lambda_of(bench, files):
    chance = random.Random(files)
    folder = bench.component("lambda", {"infra/main.tf": 'variable "release" {\n  type = map(string)\n}\n'})
    folder = folder.rename(folder.parent / f"files-{files}")
    for number in range(files):
        path = folder / "src" / f"{number % 100}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(SMALL // 2).hex().encode())
    return folder


def measured(bench, binary, folder):
    bench.commit(folder)
    # What the checkout's files cost git, and that they are on the disk, is not what is measured.
    os.sync()
    release = Run([str(binary), "release", "1"], folder, bench.env)
    deploy = [str(binary), "deploy", "ci", "1", "--plan-only", "--new-environment", "--cache-dir", "none"]
    fetch = Run(deploy, folder, bench.env)
    shutil.rmtree(folder)
    for store in ("releases", "lambda"):
        shutil.rmtree(folder.parent / "store" / store, ignore_errors=True)
    return release, fetch


def growth(bench, binary, sizes, counts):
    """Rows: what, how much, the release, the deploy without apply."""
    rows = []
    for megabytes in sizes:
        rows.append(("MB in infra/", megabytes, *measured(bench, binary, bundle_of(bench, megabytes))))
    for files in counts:
        rows.append(("files of a Lambda", files, *measured(bench, binary, lambda_of(bench, files))))
    print(f"\n{'growth (with Terraform, without an apply)':46} {'release':>10} {'peak':>9} {'deploy':>10} {'peak':>9}")
    for what, how_much, release, deploy in rows:
        cells = "".join(f"{run.wall:9.2f} s {run.peak:5.0f} MiB" for run in (release, deploy))
        print(f"{how_much:>12,} {what:33}{cells}", flush=True)
    return rows
