"""What the benchmarks share: programs and their costs, components, and an S3."""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import urllib.request

SCHEME = {
    "accounts": {"local": {}},
    "release-account": "local",
    "default-region": "eu-west-1",
    "release-bucket": "file:../store/releases",
    "lambda-bucket": "file:../store/lambda",
    "terraform-backend": {"type": "local", "path": "file:../store/state"},
    "environments": {"*": "local"},
}


class Cost:
    """Of a program and of all that it starts: seconds, seconds of CPU. `last`: the same from the line `since` of its output on."""

    def __init__(self, arguments, folder, env, since=None):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(arguments, cwd=folder, env=env, **pipe)
        lines, self.last = [], None
        for line in process.stdout:
            lines.append(line)
            if since and line.strip().endswith(since):
                self.last = (time.monotonic() - began, cpu_of(process.pid))
        code = process.wait()
        self.wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.text = "".join(lines)
        if code:
            sys.exit(f"{arguments} ended with {code}:\n{self.text}")
        if since:
            self.last = Part(self.wall - self.last[0], self.cpu - self.last[1])

    def __add__(self, other):
        self.wall += other.wall
        self.cpu += other.cpu
        return self


class Part:
    def __init__(self, wall, cpu):
        self.wall, self.cpu = wall, cpu


def cpu_of(pid):
    """Seconds of CPU of a running program, and of those of its programs that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, place, mirror):
        self.place = place
        home, rc = place / "home", place / "terraform.rc"
        home.mkdir()
        (place / "tmp").mkdir()
        rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(place / "tmp"),
            "TF_CLI_CONFIG_FILE": str(rc),
            "CHECKPOINT_DISABLE": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def component(self, kind, files):
        """A checkout below a folder of its own, where `store` is made as well."""
        folder = self.place / kind / "component"
        manifest = {"account-scheme-url": "./account-scheme.json", "team": "bench", "component": kind, "type": kind}
        files = {"cdflow.yml": json.dumps(manifest), "account-scheme.json": json.dumps(SCHEME), **files}
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    def commit(self, folder):
        # git would pack many files in the background.
        names = ["-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "gc.auto=0"]
        for arguments in (["init", "--quiet"], ["add", "--all"], [*names, "commit", "--quiet", "--message", "All"]):
            subprocess.run(["git", *arguments], cwd=folder, env=self.env, check=True)

    def commit_change(self, folder):
        names = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
        subprocess.run(["git", *names, "commit", "--quiet", "--all", "--message", "Change"], cwd=folder, env=self.env, check=True)

    def run(self, *arguments, folder=None):
        return Cost([str(argument) for argument in arguments], folder or self.place, self.env)

    def python(self, code, *arguments):
        return self.run(sys.executable, "-I", "-c", code, *arguments)

    def fresh(self, name):
        """A path where nothing is."""
        path = self.place / f"{name}-{time.monotonic_ns()}"
        return path


def compare(title, rounds):
    """`rounds`: pairs of costs, the predecessor's first."""
    median = lambda of, which: statistics.median(of(pair[which]) for pair in rounds)
    wall, cpu = (lambda cost: cost.wall), (lambda cost: cost.cpu)
    theirs, ours = median(wall, 0), median(wall, 1)
    cpus = median(cpu, 0) / max(median(cpu, 1), 0.001)
    print(f"{title:46} {theirs:8.3f} {ours:8.3f} {theirs / ours:7.1f} {cpus:7.1f}", flush=True)


class S3:
    """moto, in a process of its own."""

    def __init__(self, bench):
        here = pathlib.Path(__file__).parent / "s3.py"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-I", here], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().strip()
        self.env = aws_environment(bench, self.address)

    def make(self, bucket):
        import boto3

        s3 = boto3.client("s3", endpoint_url=self.address, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def measured(self, work):
        """The cost of `work()`, and the bytes that it sent."""
        before = self.sent()
        cost = work()
        return cost, self.sent() - before

    def sent(self):
        return int(urllib.request.urlopen(f"{self.address}/sent").read())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def aws_environment(bench, address):
    return {
        **bench.env,
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def remote_scheme(bucket):
    accounts = {"release": {"id": "111111111111", "role": "cdflow-release"}}
    return {
        "accounts": accounts,
        "release-account": "release",
        "default-region": "eu-west-1",
        "release-bucket": bucket,
        "lambda-bucket": f"{bucket}-lambda",
        "terraform-backend-s3-bucket": f"{bucket}-state",
        "environments": {"*": "release"},
    }
