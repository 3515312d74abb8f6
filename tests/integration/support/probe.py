"""Run by Terraform in the middle of an apply (local-exec): notes into the folder given what a program there can see."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

seen = sys.argv[1]


def note(name, value):
    with open(os.path.join(seen, name), "w") as file:
        json.dump(value, file)


def ask(token):
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"authorization": token})
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}


os.makedirs(seen, exist_ok=True)
note("environment.json", dict(os.environ))
note("provider.json", ask(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]))
note("provider-again.json", ask(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]))
note("stranger.json", ask("guessed"))
with open(os.environ["AWS_CONFIG_FILE"]) as file:
    process = next(line for line in file if line.startswith("credential_process")).split("=", 1)[1]
note("backend.json", json.loads(subprocess.check_output(process, shell=True)))

modes = {}
for folder, folders, files in os.walk(os.environ["TMPDIR"]):
    # The provider is 700 MB, and what it is has been verified.
    folders[:] = [name for name in folders if name != "providers"]
    for name in folders + files:
        path = os.path.join(folder, name)
        inside = os.path.relpath(path, os.environ["TMPDIR"])
        # A link has no mode of its own; what it leads to is listed too.
        if os.path.islink(path):
            continue
        modes[inside] = oct(os.lstat(path).st_mode & 0o777)
        if os.path.isfile(path):
            copy = os.path.join(seen, "tmp", inside)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copyfile(path, copy)
note("modes.json", modes)
