"""The AWS of the tests: moto in this process, and boto3 calls for the tests' own set-up and assertions.

One JSON request a line on standard input, one JSON answer a line on standard output; the first line says where moto listens.
Ends when standard input does, that is with the test process, however that ended.
"""

import base64
import datetime
import json
import logging
import sys

import boto3
import botocore.config
import botocore.exceptions
import werkzeug.serving
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
MOTO_ACCOUNT = "123456789012"  # whose keys every unknown key is

answers = sys.stdout
sys.stdout = sys.stderr
requests = []
clients = {}


class Requests(logging.Handler):
    def emit(self, record):
        requests.append(record.getMessage().split('"')[1] if '"' in record.getMessage() else record.getMessage())


def client(service, account):
    if (service, account) not in clients:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        if account and account != MOTO_ACCOUNT:
            role = f"arn:aws:iam::{account}:role/tests"
            assumed = client("sts", None).assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
            keys = {
                "aws_access_key_id": assumed["AccessKeyId"],
                "aws_secret_access_key": assumed["SecretAccessKey"],
                "aws_session_token": assumed["SessionToken"],
            }
        clients[service, account] = boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            **keys,
        )
    return clients[service, account]


def to_json(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if hasattr(value, "read"):
        return to_json(value.read())
    raise TypeError(f"no JSON for {type(value)}")


def from_json(value):
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else value


def answer(request):
    match request["op"]:
        case "call":
            method = getattr(client(request["service"], request["account"]), request["method"])
            response = method(**request["args"])
            if isinstance(response, dict):
                response.pop("ResponseMetadata", None)
            return response
        case "list":  # every page of a listing, as one list
            pages = client(request["service"], request["account"]).get_paginator(request["method"])
            return [item for page in pages.paginate(**request["args"]) for item in page.get(request["field"], [])]
        case "download":
            return client("s3", None).download_file(request["bucket"], request["key"], request["path"])
        case "upload":
            extra = {"Metadata": request["metadata"]}
            return client("s3", None).upload_file(request["path"], request["bucket"], request["key"], ExtraArgs=extra)
        case "requests":
            return [line for line in list(requests) if request["containing"] in line]


default_user_config["lambda"]["use_docker"] = False
werkzeug.serving._log_add_style = False
log = logging.getLogger("werkzeug")
log.handlers, log.propagate = [Requests()], False
log.setLevel(logging.INFO)

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://{}:{}".format(*server.get_host_and_port())
print(json.dumps({"ok": endpoint}), file=answers, flush=True)

for line in sys.stdin:
    try:
        reply = {"ok": answer(json.loads(line, object_hook=from_json))}
    except botocore.exceptions.ClientError as error:
        reply = {"error": f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"}
    except Exception as error:  # the test that asked says what went wrong
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply, default=to_json), file=answers, flush=True)
