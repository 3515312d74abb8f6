"""What stands before the registry of the laboratory: TLS, and the ways in which registries let somebody in.

`<account>.dkr.ecr.<region>.amazonaws.com` behaves as ECR does: Basic with the token that moto hands out, no repository that was
not made before, tags that may be immutable, and every image is known to moto afterwards.
`registry.test` gives out Bearer tokens to USER, and to anybody for what is below `public/`.
Below `/git/`, each of them serves repositories of git.
"""

import base64
import http.client
import http.server
import json
import os
import secrets
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions

PLAIN_PORT = 5000
REGION = "eu-west-1"
ACCOUNTS = ["111111111111", "222222222222", "333333333333", "123456789012"]
TOKEN_HOST = "registry.test"
HOSTS = [f"{account}.dkr.ecr.{REGION}.amazonaws.com" for account in ACCOUNTS] + [TOKEN_HOST]
USER, PASSWORD, REFRESH_TOKEN = "robot", "robot-password-robot", "robot-refresh-token-robot"

requests = []
rules = {}
tokens = {}
clients = {}
moto = None


class Refused(Exception):
    def __init__(self, status, code, message, **headers):
        super().__init__(message)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        self.host = self.headers["Host"].split(":")[0]
        body = self.read_body()
        line = f"{self.command} {self.host}{self.path}"
        requests.append(line)
        try:
            for rule in [rule for rule in list(rules.values()) if rule["matching"] in line and take(rule)]:
                time.sleep(rule.get("delay", 0))
                if rule.get("cut"):
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                if "status" in rule:
                    return self.answer(rule["status"], rule.get("headers", {}), rule.get("body", "").encode())
            if self.path.startswith("/git/"):
                return self.git(body)
            if self.path.startswith("/token"):
                return self.answer(200, {}, self.token(body))
            self.admit()
            self.forward(body)
        except Refused as refused:
            self.answer(refused.status, refused.headers, refused.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, headers, body, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def git(self, body):
        """Any repository of this machine: `/git/<its path>`."""
        path, _, query = self.path.removeprefix("/git").partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": "/",
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        said = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.answer(int(headers.pop("Status", "200").split()[0]), headers, content)

    def forward(self, body):
        path = urllib.parse.urlsplit(self.path).path
        before, _, reference = path.partition("/manifests/")
        repository = before.removeprefix("/v2/") if reference else None
        ecr = Ecr(self.host) if self.host != TOKEN_HOST else None
        if ecr and self.command == "POST" and path.endswith("/blobs/uploads/"):
            ecr.check_repository(path.removeprefix("/v2/").removesuffix("/blobs/uploads/"))
        if ecr and repository:
            ecr.check_manifest(repository, reference, self.command)
        status, headers, answer = self.ask_registry(body)
        if ecr and repository and self.command == "PUT" and status == 201:
            ecr.note(repository, reference, headers["Docker-Content-Digest"], self.headers["Content-Type"], body)
        self.answer(status, headers, answer, headers.pop("Content-Length", None) if self.command == "HEAD" else None)

    def ask_registry(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", PLAIN_PORT)
        dropped = ["authorization", "transfer-encoding", "content-length", "connection"]
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        has_body = body or self.command in ["POST", "PUT", "PATCH"]
        connection.request(self.command, self.path, body if has_body else None, {**headers, "X-Forwarded-Proto": "https"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        dropped = ["connection", "transfer-encoding", *(["content-length"] if self.command != "HEAD" else [])]
        return response.status, {k: v for k, v in response.getheaders() if k.lower() not in dropped}, answer

    def admit(self):
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if self.host != TOKEN_HOST:
            expected = base64.b64encode(f"AWS:{self.host.split('.')[0]}-auth-token".encode()).decode()
            if (kind, given) != ("Basic", expected):
                challenge = f'Basic realm="https://{self.host}/",service="ecr.amazonaws.com"'
                raise Refused(401, "UNAUTHORIZED", "no basic auth credentials", WWW_Authenticate=challenge)
            return
        path = urllib.parse.urlsplit(self.path).path.removeprefix("/v2/")
        repository = next((path.rpartition(part)[0] for part in ["/manifests/", "/blobs/", "/tags/"] if part in path), "")
        actions = "pull" if self.command in ["GET", "HEAD"] else "pull,push"
        scope = f"repository:{repository}:{actions}" if repository else ""
        granted = tokens.get(given) if kind == "Bearer" else None
        if granted is None or (scope and scope not in granted and f"repository:{repository}:pull,push" not in granted):
            challenge = f'Bearer realm="https://{TOKEN_HOST}/token",service="{TOKEN_HOST}"'
            challenge += f',scope="{scope}"' if scope else ""
            raise Refused(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge)

    def token(self, body):
        form = urllib.parse.parse_qs(body.decode() or urllib.parse.urlsplit(self.path).query)
        scopes = form.get("scope", [])
        given = self.headers.get("Authorization", "")
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        is_known = given == expected or form.get("refresh_token") == [REFRESH_TOKEN]
        is_public = not given and all(s.startswith("repository:public/") and s.endswith(":pull") for s in scopes)
        if not is_known and not is_public:
            raise Refused(401, "UNAUTHORIZED", "incorrect username or password")
        token = secrets.token_urlsafe(24)
        tokens[token] = scopes
        return json.dumps({"token": token, "access_token": token, "expires_in": 300}).encode()

    def log_message(self, *_):
        pass


class Ecr:
    """An account's ECR by moto, which knows repositories and images but takes no layers."""

    def __init__(self, host):
        self.account = host.split(".")[0]
        self.client = client("ecr", self.account)

    def check_repository(self, repository):
        try:
            return self.client.describe_repositories(repositoryNames=[repository])["repositories"][0]
        except botocore.exceptions.ClientError as error:
            text = f"The repository with name '{repository}' does not exist in the registry with id '{self.account}'"
            raise Refused(404, "NAME_UNKNOWN", text) from error

    def digest_of(self, repository, reference):
        image = {"imageDigest" if ":" in reference else "imageTag": reference}
        try:
            found = self.client.describe_images(repositoryName=repository, imageIds=[image])
            return found["imageDetails"][0]["imageDigest"]
        except botocore.exceptions.ClientError:
            return None

    def check_manifest(self, repository, reference, method):
        settings = self.check_repository(repository)
        known = self.digest_of(repository, reference)
        if method != "PUT" and not known:
            raise Refused(404, "MANIFEST_UNKNOWN", "Requested image not found")
        if method == "PUT" and known and ":" not in reference and settings["imageTagMutability"] == "IMMUTABLE":
            text = f"The image tag '{reference}' already exists in the '{repository}' repository and cannot be overwritten"
            raise Refused(400, "TAG_INVALID", f"{text} because the repository is immutable.")

    def note(self, repository, reference, digest, media_type, manifest):
        if self.digest_of(repository, reference) == digest:
            return
        tag = {} if ":" in reference else {"imageTag": reference}
        self.client.put_image(
            repositoryName=repository,
            imageManifest=manifest.decode(),
            imageManifestMediaType=media_type,
            imageDigest=digest,
            **tag,
        )


def client(service, account):
    if (service, account) not in clients:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        if service != "sts":
            role = f"arn:aws:iam::{account}:role/registry"
            assumed = client("sts", None).assume_role(RoleArn=role, RoleSessionName="registry")["Credentials"]
            keys = {
                "aws_access_key_id": assumed["AccessKeyId"],
                "aws_secret_access_key": assumed["SecretAccessKey"],
                "aws_session_token": assumed["SessionToken"],
            }
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        clients[service, account] = boto3.client(service, endpoint_url=moto, region_name=REGION, config=config, **keys)
    return clients[service, account]


def take(rule):
    rule["times"] -= 1
    return rule["times"] >= 0


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request, client_address):
        # The handshake in the connection's own thread: who stalls there, stalls alone.
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # the client has gone, or does not trust us


def serve(address, context, moto_endpoint):
    global moto
    moto = moto_endpoint
    server = Server(address, Front)
    server.context = context
    threading.Thread(target=server.serve_forever, daemon=True).start()
