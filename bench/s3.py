"""An S3 (and STS) for the benchmark: moto, which counts the bytes of the bodies that it gets.

Prints its address. A GET of /sent answers with the count. Ends when standard input does.
"""

import sys

import moto.moto_server.threaded_moto_server as threaded_moto_server
from moto.server import ThreadedMotoServer

sent = 0


class Counter:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        global sent
        if environ["PATH_INFO"] == "/sent":
            body = str(sent).encode()
            start_response("200 OK", [("content-length", str(len(body)))])
            return [body]
        sent += int(environ.get("CONTENT_LENGTH") or 0)
        return self.app(environ, start_response)


application = threaded_moto_server.DomainDispatcherApplication
threaded_moto_server.DomainDispatcherApplication = lambda create: Counter(application(create))
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
