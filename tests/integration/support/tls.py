"""A host with a certificate of its own authority, and the only way to it: a proxy.

tls.py PORT FOLDER [DIRECT]: what comes for ghes.test by TLS goes to 127.0.0.1:PORT. Writes FOLDER/ca.pem, prints the proxy's
port, and then a line for each host that was asked for. With DIRECT, there is also a port for TLS without the proxy, for
127.0.0.1, which leads to 127.0.0.1:DIRECT; the first line has both ports. Ends after five minutes, if nobody has ended it by
then.
"""

import datetime
import ipaddress
import pathlib
import socket
import ssl
import sys
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "ghes.test"


def certificate(name, key, issuer, issuer_key, extension):
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(issuer or subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
    return builder.add_extension(extension, critical=True).sign(issuer_key, hashes.SHA256())


def write(path, *items):
    path.write_bytes(b"".join(items))
    return path


def context(folder):
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("The tests' authority", ca_key, None, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = certificate(HOST, key, ca.subject, ca_key, names)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write(folder / "ca.pem", ca.public_bytes(pem))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(write(folder / "host.pem", leaf.public_bytes(pem), private))
    return made


def pump(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(near, tls, port):
    head = b""
    while b"\r\n\r\n" not in head:
        head += near.recv(1)
    _, host, _ = head.decode().split(" ", 2)
    print(host, flush=True)
    near.sendall(b"HTTP/1.1 200 -\r\n\r\n")
    forward(near, tls, port)


def forward(near, tls, port):
    try:
        near = tls.wrap_socket(near, server_side=True)
    except (OSError, ssl.SSLError):
        # The client does not trust us.
        return
    far = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)


def listen(handle, tls, port):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            near, _ = listener.accept()
            threading.Thread(target=handle, args=(near, tls, port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    tls = context(folder)
    ports = [listen(serve, tls, port)] + [listen(forward, tls, int(direct)) for direct in sys.argv[3:]]
    print(*ports, flush=True)
    time.sleep(300)


main()
