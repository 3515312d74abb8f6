import os
from http.server import BaseHTTPRequestHandler, HTTPServer


def body():
    return f"{os.environ['GREETING']}\n".encode()


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body())


if __name__ == "__main__":
    HTTPServer(("", 8080), Greeter).serve_forever()
