"""What cdflow costs beside the way that its predecessor went (Python's zipfile), in ratios of one run.

Machines are noisy, so only the ratios mean something: the rounds go in turns, and each figure is a median. Everything is done
under the local account scheme or with moto as S3, in a folder of its own that goes at the end. Arguments: the binary, the folder with the AWS
provider (above registry.terraform.io), the number of rounds.
"""

import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

# Python runs isolated, and finds nothing beside the script itself.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from growth import growth
from measure import S3, Bench, Cost, aws_environment, compare, remote_scheme

BINARY, MIRROR = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
ROUNDS = int(sys.argv[3])
IS_QUICK = sys.argv[4:] == ["quick"]
FILES, BYTES = 20_000, 10_000

PROVIDER = 'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws" }\n  }\n}\n'

# A provider that starts, reads and plans without AWS, and a change by configuration alone.
DEPLOYED = PROVIDER + """
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
variable "greeting" {
  type    = string
  default = "hello"
}
data "aws_iam_policy_document" "read" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["*"]
  }
}
resource "terraform_data" "greeting" {
  input = "${data.aws_iam_policy_document.read.json}${var.greeting}"
}
"""

# What the predecessor did: every file into one archive, and back out of its bytes in memory.
ZIP = """
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[2], "w", getattr(zipfile, sys.argv[3])) as out:
    for folder, _, names in os.walk(sys.argv[1]):
        for name in names:
            path = os.path.join(folder, name)
            out.write(path, os.path.relpath(path, sys.argv[1]))
"""
UNZIP = """
import io, os, sys, zipfile
archive = zipfile.ZipFile(io.BytesIO(open(sys.argv[1], "rb").read()))
for entry in archive.infolist():
    os.chmod(archive.extract(entry, sys.argv[2]), entry.external_attr >> 16)
"""


# What the predecessor did with the archive.
UPLOAD = """
import boto3, sys
boto3.client("s3", endpoint_url=sys.argv[1], region_name="eu-west-1", aws_access_key_id="test",
             aws_secret_access_key="test").upload_file(sys.argv[2], sys.argv[3], sys.argv[4])
"""


def start(bench):
    """The predecessor loads boto3 before it does anything."""
    return [(bench.python("import boto3"), bench.run(BINARY, "--version")) for _ in range(3 * ROUNDS)]


def lambda_zip(bench):
    folder = bench.component("lambda", {"infra/main.tf": 'variable "release" {\n  type = map(string)\n}\n'})
    chance = random.Random(1)
    words = [chance.randbytes(6).hex().encode() for _ in range(4000)]
    for number in range(FILES):
        path = folder / "src" / f"{number % 100}" / f"{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        # As many different words as code of this size has, so that it compresses as well as code.
        path.write_bytes(b" ".join(chance.choices(chance.sample(words, 120), k=BYTES // 13)))
    bench.commit(folder)
    sizes, rounds = None, []
    for number in range(ROUNDS):
        archive = bench.fresh("lambda.zip")
        theirs = bench.python(ZIP, folder / "src", archive, "ZIP_STORED")
        rounds.append((theirs, bench.run(BINARY, "release", f"{number}", folder=folder)))
        stored = next((bench.place / "lambda/store/lambda").rglob(f"*-{number}.zip"))
        sizes = (archive.stat().st_size, stored.stat().st_size)
        archive.unlink()
    return rounds, sizes


def bundle(bench):
    folder = bench.component("infrastructure", {"infra/main.tf": PROVIDER})
    bench.run("terraform", "init", "-backend=false", folder=folder / "infra")
    shutil.rmtree(folder / "infra/.terraform")
    bench.commit(folder)
    packing, fetching, sizes = [], [], None
    for number in range(ROUNDS):
        work, archive = bench.fresh("work"), bench.fresh("bundle.zip")
        shutil.copytree(folder / "infra", work)
        theirs = bench.run("terraform", "init", "-backend=false", folder=work)
        # Terraform links to the mirror; what is carried are the files.
        real = bench.fresh("real")
        shutil.copytree(work, real)
        theirs += bench.python(ZIP, real, archive, "ZIP_DEFLATED")
        packing.append((theirs, bench.run(BINARY, "release", f"{number}", folder=folder)))
        stored = next((bench.place / "infrastructure/store/releases").rglob(f"*-{number}.zip"))
        sizes = (archive.stat().st_size, stored.stat().st_size)

        out = bench.fresh("out")
        theirs = bench.python(UNZIP, archive, out)
        theirs += bench.run("terraform", "init", "-backend=false", "-plugin-dir", out / ".terraform/providers", folder=out)
        for verb in (["workspace", "list"], ["workspace", "new", "ci"], ["plan", "-input=false", "-out=plan"]):
            theirs += bench.run("terraform", *verb, folder=out)
        ours = bench.run(BINARY, "deploy", "ci", f"{number}", "--plan-only", "--new-environment", "--cache-dir", "none", folder=folder)
        fetching.append((theirs, ours))
        for path in (work, real, out):
            shutil.rmtree(path)
        archive.unlink()
    return packing, fetching, sizes


def remote(bench, s3):
    """Releases that carry the AWS provider, to S3: a first one into an empty bucket, and a second one with the same provider."""
    folder = bench.component("remote", {"infra/main.tf": PROVIDER})
    manifest = json.loads((folder / "cdflow.yml").read_text())
    (folder / "cdflow.yml").write_text(json.dumps({**manifest, "type": "infrastructure"}))
    bench.run("terraform", "init", "-backend=false", folder=folder / "infra")
    shutil.rmtree(folder / "infra/.terraform")
    bench.commit(folder)
    init, first, second = [], [], []
    for number in range(ROUNDS):
        bucket = f"bench-{number}"
        s3.make(bucket)
        (folder / "account-scheme.json").write_text(json.dumps(remote_scheme(bucket)))
        work = bench.fresh("work")
        shutil.copytree(folder / "infra", work)
        init.append(bench.run("terraform", "init", "-backend=false", folder=work))
        shutil.rmtree(work)
        for row, version in ((first, "1"), (second, "2")):
            theirs = s3.measured(lambda: predecessor(bench, s3, folder, f"{bucket}", f"old-{version}"))
            ours = s3.measured(lambda: Cost([str(BINARY), "release", version], folder, s3.env, since="Bundle"))
            has_tools = shutil.which("aws") and shutil.which("zip")
            pipeline = s3.measured(lambda: tools(bench, s3, folder, f"{bucket}", f"zip-{version}")) if has_tools else None
            row.append((theirs, ours, pipeline))
            with open(folder / "infra/main.tf", "a") as code:
                code.write(f"# {number} {version}\n")
            bench.commit_change(folder)
    return init, first, second


def predecessor(bench, s3, folder, bucket, key):
    """`last` is without Terraform."""
    work, archive = bench.fresh("work"), bench.fresh("bundle.zip")
    shutil.copytree(folder / "infra", work)
    cost = bench.run("terraform", "init", "-backend=false", folder=work)
    real = bench.fresh("real")
    shutil.copytree(work, real)
    packed = bench.python(ZIP, real, archive, "ZIP_DEFLATED")
    packed += bench.python(UPLOAD, s3.address, archive, bucket, key)
    for path in (work, real):
        shutil.rmtree(path)
    archive.unlink()
    cost.last = packed
    cost += packed
    return cost


def tools(bench, s3, folder, bucket, key):
    """zip -1 into `aws s3 cp`. `last` is without Terraform."""
    work = bench.fresh("work")
    shutil.copytree(folder / "infra", work)
    cost = bench.run("terraform", "init", "-backend=false", folder=work)
    cost.last = Cost(["sh", "-c", f"zip -1 -q -r - . | aws s3 cp - s3://{bucket}/{key}"], work, s3.env)
    cost += cost.last
    shutil.rmtree(work)
    return cost


def compare_remote(title, rows):
    compare(title, [(theirs[0], ours[0]) for theirs, ours, _ in rows])
    bytes_of = lambda which: statistics.median(row[which][1] for row in rows)
    print(f"{'  bytes sent':46} {bytes_of(0):12,.0f} {bytes_of(1):12,.0f}")
    compare("  packing and uploading alone", [(theirs[0].last, ours[0].last) for theirs, ours, _ in rows])
    if all(pipeline for _, _, pipeline in rows):
        compare("  the same, against zip -1 | aws s3 cp", [(pipeline[0].last, ours[0].last) for _, ours, pipeline in rows])


def shared(bench, s3):
    """A first and a second release with `providers: shared`. The costs, with the bytes that they sent."""
    folder = bench.place / "remote/component"
    manifest = json.loads((folder / "cdflow.yml").read_text())
    (folder / "cdflow.yml").write_text(json.dumps({**manifest, "release": {"providers": "shared"}}))
    bench.commit_change(folder)
    rows = []
    for number in range(ROUNDS):
        bucket = f"shared-{number}"
        s3.make(bucket)
        (folder / "account-scheme.json").write_text(json.dumps(remote_scheme(bucket)))
        release = lambda version: s3.measured(lambda: Cost([str(BINARY), "release", version], folder, s3.env, since="Bundle"))
        first = release("1")
        with open(folder / "infra/main.tf", "a") as code:
            code.write(f"# shared {number}\n")
        bench.commit_change(folder)
        rows.append((first, release("2")))
    return rows


def show_shared(rows):
    print("\nproviders: shared, to S3; packing and uploading alone")
    for which, title in enumerate(("first release", "second release")):
        wall = statistics.median(row[which][0].last.wall for row in rows)
        sent = statistics.median(row[which][1] for row in rows)
        print(f"{title:46} {wall:8.3f} s {sent:12,.0f} bytes sent")


def status(bench):
    """`status` of 200 environments with 1,000 runs each, in an S3 that waits 30 ms before each answer."""
    environments, runs, delay = 200, 1_000, 30
    here = pathlib.Path(__file__).parent / "ledgers.py"
    arguments = [sys.executable, "-I", here, str(environments), str(runs), str(delay)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        folder = bench.component("infrastructure", {"infra/main.tf": ""})
        folder = folder.rename(folder.parent / "status")
        manifest = {"account-scheme-url": "./account-scheme.json", "team": "bench", "component": "status", "type": "infrastructure"}
        (folder / "cdflow.yml").write_text(json.dumps(manifest))
        (folder / "account-scheme.json").write_text(json.dumps(remote_scheme("bench")))
        bench.commit(folder)
        env = aws_environment(bench, address)
        asked = lambda: int(urllib.request.urlopen(f"{address}/requests").read())
        costs, before = [], asked()
        for _ in range(ROUNDS):
            costs.append(Cost([str(BINARY), "status"], folder, env))
            if costs[-1].text.count("env-") < environments:
                sys.exit(f"status lacks environments:\n{costs[-1].text}")
        requests = (asked() - before) // ROUNDS
        server.stdin.close()
    wall, cpu = (statistics.median(values) for values in ([it.wall for it in costs], [it.cpu for it in costs]))
    what = f"status of {environments} environments, {runs:,} runs each"
    print(f"\n{what:46} {wall:8.3f} s, {cpu:.3f} s of CPU, {requests:,} requests with {delay} ms each")


def plain(bench, folder, greeting):
    """`terraform init`, `plan` and `apply` in a fresh folder of code. The state stays. Returns init with plan, and apply."""
    work = bench.fresh("plain")
    shutil.copytree(folder / "infra", work)
    state = [f"-state={bench.place / 'plain.tfstate'}"]
    planned = bench.run("terraform", "init", "-input=false", folder=work)
    planned += bench.run("terraform", "plan", "-input=false", "-out=plan", f"-var=greeting={greeting}", *state, folder=work)
    applied = bench.run("terraform", "apply", *state, "plan", folder=work)
    shutil.rmtree(work)
    return planned, applied


def programs(text):
    """How many times `-vv` says that Terraform was started."""
    return sum(line.strip().startswith("$ ") and "/terraform " in line for line in text.splitlines())


def deploys(bench):
    """Deploys with one change and without, on a cold and a warm machine, beside plain Terraform."""
    folder = bench.component("infrastructure", {"infra/main.tf": DEPLOYED})
    folder = folder.rename(folder.parent / "deployed")
    manifest = json.loads((folder / "cdflow.yml").read_text())
    (folder / "cdflow.yml").write_text(json.dumps({**manifest, "component": "deployed"}))
    bench.run("terraform", "init", "-backend=false", folder=folder / "infra")
    shutil.rmtree(folder / "infra/.terraform")
    (folder / "config").mkdir()
    bench.commit(folder)
    cache = bench.place / "home/.cache/cdflow/files"
    deploy = lambda version: bench.run(BINARY, "-vv", "deploy", "ci", version, *FIRST, folder=folder)
    rows = {name: [] for name in ("change, cold", "change, warm", "no change, cold", "no change, warm")}
    number, FIRST = 0, ["--new-environment"]
    for _ in range(ROUNDS + 1):
        for kind in ("cold", "warm"):
            number += 1
            (folder / "config/common.json").write_text(json.dumps({"greeting": f"{number}"}))
            bench.run(BINARY, "release", f"{number}", folder=folder)
            for name in ("change", "no change"):
                if kind == "cold" and cache.exists():
                    shutil.rmtree(cache)
                planned, applied = plain(bench, folder, number)
                ours = deploy(f"{number}")
                FIRST = []
                theirs = planned + applied if name == "change" else planned
                rows[f"{name}, {kind}"].append((theirs, ours))
    # The first round makes the environment.
    return {name: pairs[1:] for name, pairs in rows.items()}


def compare_deploys(rows):
    """The goals of issue 14: at most 1.25 times plain Terraform with a change, and 1.15 times `init` and `plan` without."""
    print(f"\n{'deploy with the AWS provider':30} {'plain':>8} {'cdflow':>8} {'wall':>7} {'CPU':>7} {'runs':>5}  fetched")
    for name, pairs in rows.items():
        median = lambda which, of: statistics.median(of(pair[which]) for pair in pairs)
        wall = [median(which, lambda cost: cost.wall) for which in (0, 1)]
        cpu = [median(which, lambda cost: cost.cpu) for which in (0, 1)]
        text = pairs[-1][1].text
        fetched = next(line for line in text.splitlines() if "files verified" in line).split(",")[0].strip()
        ratios = f"{wall[1] / wall[0]:7.2f} {cpu[1] / cpu[0]:7.2f}"
        print(f"{name:30} {wall[0]:8.3f} {wall[1]:8.3f} {ratios} {programs(text):5}  {fetched}", flush=True)
    print("Seconds, medians; `wall` and `CPU`: cdflow / plain `init`, `plan` and, with a change, `apply`; `runs`: of Terraform.")


def main():
    place = pathlib.Path(tempfile.mkdtemp(prefix="cdflow-bench-"))
    try:
        bench = Bench(place, MIRROR)
        print(f"{'':46} {'before':>8} {'cdflow':>8} {'times':>7} {'CPU':>7}")
        compare("start (beside `import boto3`)", start(bench))
        rounds, sizes = lambda_zip(bench)
        compare(f"release of a Lambda of {FILES:,} files", rounds)
        print(f"{'  bytes':46} {sizes[0]:8,} {sizes[1]:8,}")
        packing, fetching, sizes = bundle(bench)
        compare("release that carries the AWS provider", packing)
        print(f"{'  bytes':46} {sizes[0]:8,} {sizes[1]:8,}")
        compare("the same, fetched, verified and planned", fetching)
        s3 = S3(bench)
        try:
            init, first, second = remote(bench, s3)
            sharing = shared(bench, s3)
        finally:
            s3.end()
        compare_remote("first release of the AWS provider, to S3", first)
        compare_remote("second release, same provider, to S3", second)
        wall, cpu = (statistics.median(values) for values in ([it.wall for it in init], [it.cpu for it in init]))
        print(f"{'  of these, terraform init':46} {wall:8.3f} {'':8} {'':7} {cpu:7.3f} s")
        print("Seconds, medians; with Terraform's own part, unless a row says otherwise. `CPU`: before / cdflow.")
        show_shared(sharing)
        status(bench)
        compare_deploys(deploys(bench))
        if IS_QUICK:
            growth(bench, BINARY, [10, 100], [10, 1_000])
        else:
            growth(bench, BINARY, [10, 100, 1_000, 3_000], [10, 1_000, 20_000, 100_000])
    finally:
        shutil.rmtree(place)


main()
