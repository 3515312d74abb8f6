"""An S3 (and STS) with the ledgers of many environments, for `status`: it makes each answer from the name that is asked for.

Arguments: environments, runs of each, milliseconds before each answer. Prints its address. A GET of /requests answers with
their count. Ends when standard input does.
"""

import http.server
import json
import sys
import threading
import time
import urllib.parse

ENVIRONMENTS, RUNS, DELAY = (int(value) for value in sys.argv[1:])
LEDGERS = "bench/status/ledger/"
COUNT_FROM = 9_999_999_999
NAMES = [f"env-{number:03}" for number in range(ENVIRONMENTS)]
TOKEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>test</AccessKeyId><SecretAccessKey>test</SecretAccessKey><SessionToken>test</SessionToken>
<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::111111111111:assumed-role/r/s</Arn>
<AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"""
IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::111111111111:user/bench</Arn><UserId>A</UserId><Account>111111111111</Account></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""
requests = 0


def entries(environment):
    """The names of a ledger, newest first."""
    for number in range(RUNS, 0, -1):
        for kind in ("end", "start"):
            yield f"{LEDGERS}{environment}/{COUNT_FROM - number:010}.{kind}.json"


def entry(key):
    """The text of an entry, or None for a key that does not exist."""
    environment, _, name = key.removeprefix(LEDGERS).partition("/")
    countdown, _, kind = name.removesuffix(".json").partition(".")
    number = COUNT_FROM - int(countdown) if countdown.isdigit() else 0
    if environment not in NAMES or not 1 <= number <= RUNS:
        return None
    times = {"start": "2026-11-01T12:00:00Z", "end": "2026-11-01T12:01:00Z"}
    shared = {"format": 1, "number": number}
    if kind == "end":
        state = {"state_serial": number, "state_lineage": "8a7b1f00-0000-4000-8000-000000000000"}
        return json.dumps({**shared, **state, "outcome": "succeeded", "reason": None, "finished": times["end"]})
    counts = {"add": 1, "change": 0, "destroy": 0}
    of = {"environment": environment, "action": "deploy", "version": f"{number}", "bundle_digest": None, "account": "111111111111"}
    by = {"terraform": "Terraform 1.11.4", "cdflow": "0.1.0", "actor": "ada", "run_url": None, "started": times["start"]}
    return json.dumps({**shared, **of, **by, "region": "eu-west-1", "plan": counts, "token": f"{environment}-{number}"})


def listed(query):
    prefix, after = query.get("prefix", ""), query.get("start-after", "")
    limit = int(query.get("max-keys", 1000))
    if "delimiter" in query:
        folders = [f"{LEDGERS}{name}/" for name in NAMES] if prefix == LEDGERS else []
        inside = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
        return result(prefix, len(folders), False, inside)
    environment = prefix.removeprefix(LEDGERS).partition("/")[0]
    of = entries(environment) if environment in NAMES else []
    keys = [key for key in of if key.startswith(prefix) and key > after]
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-01T12:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag><Size>300</Size></Contents>"
        for key in keys[:limit]
    )
    return result(prefix, min(limit, len(keys)), len(keys) > limit, contents)


def result(prefix, count, is_cut, inside):
    more = "<NextContinuationToken>more</NextContinuationToken>" if is_cut else ""
    head = f"<Name>bench</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>"
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{head}<IsTruncated>{str(is_cut).lower()}</IsTruncated>{more}{inside}</ListBucketResult>'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        global requests
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/requests":
            return self.answer(200, str(requests))
        requests += 1
        time.sleep(DELAY / 1000)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if "list-type" in query:
            return self.answer(200, listed(query))
        _, _, key = urllib.parse.unquote(url.path).removeprefix("/").partition("/")
        text = entry(key)
        missing = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
        self.answer(404 if text is None else 200, missing if text is None else text)

    do_HEAD = do_GET

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answer(200, IDENTITY if b"Action=GetCallerIdentity" in asked else TOKEN)

    def answer(self, status, text):
        body = text.encode()
        head = f"HTTP/1.1 {status} _\r\ncontent-length: {len(body)}\r\nx-amz-request-id: 1\r\ncontent-type: application/xml\r\n\r\n"
        self.wfile.write(head.encode() + (b"" if self.command == "HEAD" else body))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("http://{}:{}".format(*server.server_address), flush=True)
sys.stdin.read()
