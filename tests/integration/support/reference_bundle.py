"""A bundle as the reference program makes it: everything under `<component>-<version>/`, directory entries, no manifest.

Reads one JSON object from standard input: zip, component, version, team, commit, checkout, scheme, platform_config, data.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

wanted = json.load(sys.stdin)
name = f"{wanted['component']}-{wanted['version']}"
work = os.path.join(os.environ["TMPDIR"], f"reference-{name}")
root = os.path.join(work, name)
shutil.rmtree(work, ignore_errors=True)
os.makedirs(root)


def copy(folder):
    source = os.path.join(wanted["checkout"], folder)
    if os.path.isdir(source):
        shutil.copytree(source, os.path.join(root, folder), ignore=shutil.ignore_patterns(".terraform"))


# `terraform init ./infra` in the root, as Terraform before 1.0 understood it: `.terraform` and the lock file land in the
# root, and the module folders are named from there.
copy("infra")
infra = os.path.join(root, "infra")
subprocess.run(
    ["terraform", f"-chdir={infra}", "init", "-no-color", "-input=false", "-backend=false"],
    env={**os.environ, "TF_DATA_DIR": "../.terraform", "CHECKPOINT_DISABLE": "1"},
    stdout=sys.stderr,
    check=True,
)
lock = os.path.join(infra, ".terraform.lock.hcl")
if os.path.exists(lock):
    os.rename(lock, os.path.join(root, ".terraform.lock.hcl"))
modules = os.path.join(root, ".terraform", "modules", "modules.json")
if os.path.exists(modules):
    with open(modules) as file:
        index = json.load(file)
    for module in index["Modules"]:
        module["Dir"] = os.path.normpath(os.path.join("infra", module["Dir"]))
    with open(modules, "w") as file:
        json.dump(index, file)

copy("config")
for directory in wanted["platform_config"]:
    for alias in os.listdir(directory):
        if re.match(r"^\w+$", alias) and os.path.isdir(os.path.join(directory, alias)):
            target = os.path.join(root, "platform-config", alias)
            os.makedirs(target, exist_ok=True)
            for region in os.listdir(os.path.join(directory, alias)):
                if region.endswith(".json"):
                    shutil.copy(os.path.join(directory, alias, region), target)

release = {key: wanted[key] for key in ("commit", "version", "component", "team")}
with open(os.path.join(root, "release.json"), "w") as file:
    json.dump({"release": {**release, **wanted["data"]}}, file)
with open(os.path.join(root, "account-scheme.json"), "w") as file:
    json.dump(wanted["scheme"], file)

with zipfile.ZipFile(wanted["zip"], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    for folder, _, files in os.walk(root, followlinks=True):
        archive.write(folder, os.path.relpath(folder, work))
        for file in files:
            path = os.path.join(folder, file)
            archive.write(path, os.path.relpath(path, work))
shutil.rmtree(work)
