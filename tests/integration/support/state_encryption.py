"""Turns the states below a folder into OpenTofu's form of an encrypted state, or back.

The content is not secret: cdflow only sees the form. `state_encryption.py encrypt|decrypt FOLDER`
"""

import base64
import json
import pathlib
import sys

action, folder = sys.argv[1:]
# Backups, too, but not `.terraform.tfstate.lock.info`.
for path in pathlib.Path(folder).rglob("terraform.tfstate*"):
    content = path.read_bytes()
    if not content:
        # A new state, of which only the lock is in use.
        continue
    state = json.loads(content)
    is_encrypted = "encrypted_data" in state
    if action == "encrypt" and not is_encrypted:
        form = {
            "serial": state["serial"],
            "lineage": state["lineage"],
            "meta": {"key_provider.pbkdf2.key": base64.b64encode(b"{}").decode()},
            "encrypted_data": base64.b64encode(content).decode(),
            "encryption_version": "v0",
        }
        path.write_text(json.dumps(form))
    elif action == "decrypt" and is_encrypted:
        path.write_bytes(base64.b64decode(state["encrypted_data"]))
