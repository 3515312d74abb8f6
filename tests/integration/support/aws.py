"""The AWS of the tests: moto in this process, and boto3 calls for the tests' own set-up and assertions.

One JSON request a line on standard input, one JSON answer a line on standard output; the first line says where moto listens.
Ends when standard input does, that is with the test process, however that ended.
"""

import base64
import collections
import datetime
import io
import json
import logging
import random
import re
import socket
import sys
import threading
import time

import boto3
import botocore.config
import botocore.exceptions
import moto.moto_server.threaded_moto_server as threaded_moto_server
import werkzeug.serving
from moto.core.config import default_user_config
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.server import ThreadedMotoServer
from moto.sts.models import sts_backends

REGION = "eu-west-1"
MOTO_ACCOUNT = "123456789012"  # whose keys every unknown key is

answers = sys.stdout
sys.stdout = sys.stderr
requests = []
calls = []
rules = {}
clients = {}


class Requests(logging.Handler):
    def emit(self, record):
        requests.append(record.getMessage().split('"')[1] if '"' in record.getMessage() else record.getMessage())


class Rules:
    """Stands before moto: notes who calls, makes conditional writes atomic (moto looks, then writes), and does what the
    rules of the tests say."""

    def __init__(self, app):
        self.app = app
        self.locks = collections.defaultdict(threading.Lock)

    def __call__(self, environ, start_response):
        line = environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"] + "?" + environ.get("QUERY_STRING", "")
        if "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            line += " " + body.decode()
            environ["wsgi.input"] = io.BytesIO(body)
        scope = re.search(r"Credential=([^/]+)/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        calls.append(
            {
                "began": time.time(),
                "line": line,
                "sent": int(environ.get("CONTENT_LENGTH") or 0),
                "key": scope and scope[1],
                "region": scope and scope[2],
                "agent": environ.get("HTTP_USER_AGENT", ""),
                "target": environ.get("HTTP_X_AMZ_TARGET", ""),
                "encryption": environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"),
                "encryption-key": environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID"),
            }
        )
        said = line
        if "x-amz-json" in environ.get("CONTENT_TYPE", ""):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            said += f" {environ.get('HTTP_X_AMZ_TARGET', '')} {body.decode()}"
            environ["wsgi.input"] = io.BytesIO(body)
        agent = environ.get("HTTP_USER_AGENT", "")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        parts = [("matching", said), ("agent", agent), ("target", target)]
        # What the tests themselves ask is not disturbed.
        rules_now = [] if agent.startswith("Boto3") else list(rules.values())
        about = [rule for rule in rules_now if all(rule.get(key, "") in text for key, text in parts)]
        for rule in about:
            rule["matched"] += 1
        followed = [rule for rule in about if take(rule)]
        for rule in followed:
            time.sleep(rule.get("delay", 0) + random.random() * rule.get("random-delay", 0))
            if "request" in rule:
                was, becomes = rule["request"]
                body = environ["wsgi.input"].read().replace(was.encode(), becomes.encode())
                environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
            if "status" in rule:
                body = rule.get("body", "").encode()
                start_response(f"{rule['status']} -", [*rule.get("headers", {}).items(), ("content-length", str(len(body)))])
                return [body]
        changes = [rule["response"] for rule in followed if "response" in rule]
        lost = [rule["lost"] for rule in followed if "lost" in rule]
        # moto says of every upload that it began in 2010, and cdflow aborts old ones.
        if line.startswith("GET ") and re.search(r"[?&]uploads\b", line):
            changes.append(["2010-11-10T20:48:33.000Z", "{now+0}"])
        if changes or lost:
            return self.changed(environ, start_response, changes, lost)
        if "HTTP_IF_NONE_MATCH" in environ:
            with self.locks[environ["PATH_INFO"]]:
                answer = list(self.app(environ, start_response))
        else:
            answer = self.app(environ, start_response)
        for rule in followed:
            time.sleep(rule.get("hold", 0))
        return answer

    def changed(self, environ, start_response, changes, lost):
        began = []
        body = b"".join(self.app(environ, lambda *head: began.append(head))).decode()
        for pattern, becomes in changes:
            becomes = re.sub(r"\{now\+(\d+)\}", lambda seconds: later(int(seconds[1])), becomes)
            body = re.sub(pattern, becomes, body)
        status, headers = began[0][:2]
        status = f"{lost[0]} -" if lost else status
        headers = [header for header in headers if header[0].lower() != "content-length"]
        start_response(status, [*headers, ("content-length", str(len(body.encode())))])
        return [body.encode()]


def statement(self, action, resource="*", principal=None, values=None):
    """What a statement of a policy says. moto speaks no TLS and does not know this condition: every request meets it."""
    if "aws:SecureTransport" in self._statement.get("Condition", {}).get("Bool", {}):
        return PermissionResult.NEUTRAL
    return moto_statement(self, action, resource, principal, values)


def take(rule):
    if random.random() > rule.get("chance", 1):
        return False
    if "at" in rule and rule["matched"] != rule["at"]:
        return False
    rule["times"] -= 1
    return rule["times"] >= 0


def later(seconds):
    time_then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return time_then.strftime("%Y-%m-%dT%H:%M:%SZ")


def relay(path):
    """Who can open this Unix socket reaches moto, also from another network namespace."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)

    def pump(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve():
        while True:
            near = listener.accept()[0]
            far = socket.create_connection(server.get_host_and_port())
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def client(service, account, region=REGION):
    if (service, account, region) not in clients:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        if account and account != MOTO_ACCOUNT:
            role = f"arn:aws:iam::{account}:role/tests"
            assumed = client("sts", None).assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
            keys = {
                "aws_access_key_id": assumed["AccessKeyId"],
                "aws_secret_access_key": assumed["SecretAccessKey"],
                "aws_session_token": assumed["SessionToken"],
            }
        clients[service, account, region] = boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            # moto answers 500 if a list changes while it is read.
            config=botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": 5}, s3={"addressing_style": "path"}
            ),
            **keys,
        )
    return clients[service, account, region]


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
            region = request.get("region", REGION)
            method = getattr(client(request["service"], request["account"], region), request["method"])
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
        case "calls":
            return [call for call in list(calls) if request["containing"] in call["line"] + call["target"]]
        case "roles":  # of which role each access key is
            backends = [backend for account in list(sts_backends.values()) for backend in account.values()]
            return {role.access_key_id: role.role_arn for backend in backends for role in list(backend.assumed_roles)}
        case "rule":
            rules[request["rule"]["matching"]] = {"times": sys.maxsize, "matched": 0, **request["rule"]}
        case "matched":
            return rules[request["matching"]]["matched"]
        case "relay":
            relay(request["path"])


default_user_config["lambda"]["use_docker"] = False
werkzeug.serving._log_add_style = False
log = logging.getLogger("werkzeug")
log.handlers, log.propagate = [Requests()], False
log.setLevel(logging.INFO)

moto_statement = IAMPolicyStatement.is_action_permitted
IAMPolicyStatement.is_action_permitted = statement
moto_app = threaded_moto_server.DomainDispatcherApplication
threaded_moto_server.DomainDispatcherApplication = lambda create: Rules(moto_app(create))
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
