"""The laboratory of the tests for images: a Docker engine, a registry, and before it `lab_registry`, which stands for ECR under
its real names. All of it in the network and the mounts that this process was started with (`unshare`), which nobody else has.

Arguments: a folder, and moto's port; in the folder `moto.sock` leads to moto. One JSON request a line on standard input, one
JSON answer a line on standard output; the first line says that everything is up.

Ends when standard input does. The engine lives in a process namespace that ends with this process, and writes to memory alone.
"""

import datetime
import fcntl
import http.client
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, os.path.dirname(__file__))
import lab_registry

# Not 127.x: to the engine every registry there is one without TLS.
ADDRESS = "10.99.0.1"
PATIENCE = 60

outside, moto_port, busybox = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
inside = outside / "lab"


def network():
    with socket.socket() as any_socket:
        set_up = lambda request, name, *rest: fcntl.ioctl(any_socket, request, struct.pack("16s" + rest[0], name, *rest[1:]))
        address = lambda text: ("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
        set_up(0x8914, b"lo", "H14x", 0x41)  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
        set_up(0x8916, b"lo:lab", *address(ADDRESS))  # SIOCSIFADDR
        set_up(0x891C, b"lo:lab", *address("255.255.255.255"))  # SIOCSIFNETMASK


def mounts():
    """/etc can be written to as one likes: what is written is seen here and gone afterwards."""
    run("mount", "-t", "tmpfs", "lab", inside)
    for folder in ["etc", "etc-work", "registry"]:
        (inside / folder).mkdir()
    run("mount", "-t", "overlay", "etc", "-o", f"lowerdir=/etc,upperdir={inside}/etc,workdir={inside}/etc-work", "/etc")
    names = " ".join(lab_registry.HOSTS)
    pathlib.Path("/etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{ADDRESS} {names}\n")
    shutil.rmtree("/etc/docker", ignore_errors=True)


def certificates():
    """An authority that everything in here trusts, and what it has signed for the registries."""

    def certificate(name, key, issuer, signed_by):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        named = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        builder = x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + 30 * day)
        is_authority = key is signed_by
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        if not is_authority:
            hosts = [x509.DNSName(host) for host in lab_registry.HOSTS]
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        return builder.sign(signed_by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("lab authority", authority_key, "lab authority", authority_key)
    trusted = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    trusted.parent.mkdir(parents=True, exist_ok=True)
    trusted.write_bytes((trusted.read_bytes() if trusted.exists() else b"") + authority)
    (inside / "authority.crt").write_bytes(authority)
    pem = inside / "registry.pem"
    plain = serialization.NoEncryption()
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate("registry", key, "lab authority", authority_key)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def engine():
    # Below a fifth of free disk, the engine would drop the layers that tests expect in its cache.
    (inside / "daemon.json").write_text(json.dumps({"builder": {"gc": {"enabled": False}}}))
    command = (
        f"dockerd --config-file {inside}/daemon.json --data-root {inside}/data --exec-root {inside}/exec"
        f" --pidfile {inside}/dockerd.pid --host unix://{inside}/docker.sock & wait"
    )
    # The first process of a namespace reaps what the engine leaves behind, and all end with it.
    return start("engine", "unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "sh", "-c", command)


def registry():
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": f"{inside}/registry"}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{lab_registry.PLAIN_PORT}"},
    }
    file = inside / "registry.json"
    file.write_text(json.dumps(config))
    return start("registry", "docker-registry", "serve", file)


def relay(port, path):
    """A server at the address that it has outside, where a Unix socket leads to it."""

    def pump(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(listener):
        while True:
            near, far = listener.accept()[0], socket.socket(socket.AF_UNIX)
            far.connect(str(path))
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def base_image():
    """busybox:latest, of nothing but the one program."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ["bin", "tmp", "etc"]:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        tar.add(busybox, "bin/busybox")
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname, link.mode = tarfile.SYMTYPE, "busybox", 0o777
                tar.addfile(link)
    change = '--change=CMD ["sh"]'
    run("docker", "--host", f"unix://{inside}/docker.sock", "import", change, "-", "busybox:latest", input=archive.getvalue())


def start(name, *command):
    """Ends with this process, however that ends."""
    with open(inside / f"{name}.log", "wb") as log:
        command = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def run(*command, **options):
    ended = subprocess.run(list(map(str, command)), capture_output=True, **options)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]}: {ended.stderr.decode()}")


def answers_at(family, address):
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def wait_for(name, process, *address):
    began = time.monotonic()
    while not answers_at(*address):
        if process.poll() is not None or time.monotonic() - began > PATIENCE:
            log = (inside / f"{name}.log").read_text()[-3000:]
            raise RuntimeError(f"the {name} of the laboratory does not come up:\n{log}")
        time.sleep(0.02)


def http_request(request):
    """Any request from in here; `https` or `http`."""
    url = urllib.parse.urlsplit(request["url"])
    trust = ssl.create_default_context(cafile=inside / "authority.crt")
    connection = (
        http.client.HTTPSConnection(url.netloc, context=trust) if url.scheme == "https" else http.client.HTTPConnection(url.netloc)
    )
    path = url.path + ("?" + url.query if url.query else "")
    connection.request(request.get("method", "GET"), path, body=request.get("body"), headers=request.get("headers", {}))
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read().decode(errors="replace")
    connection.close()
    return {"status": answer.status, "headers": headers, "body": body}


def answer(request):
    match request["op"]:
        case "http":
            return http_request(request)
        case "relay":
            relay(request["port"], request["path"])
        case "rule":
            lab_registry.rules[request["rule"]["matching"]] = {"times": sys.maxsize, **request["rule"]}
        case "requests":
            return [line for line in list(lab_registry.requests) if request["containing"] in line]


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    processes = []
    # Who ends the tests' whole process group, by Ctrl-C or `timeout`, shall find nothing left either.
    for ending in [signal.SIGTERM, signal.SIGINT]:
        signal.signal(ending, lambda *_: sys.exit())
    try:
        network()
        mounts()
        context = certificates()
        processes = [engine(), registry()]
        relay(moto_port, outside / "moto.sock")
        lab_registry.serve((ADDRESS, 443), context, f"http://127.0.0.1:{moto_port}")
        wait_for("registry", processes[1], socket.AF_INET, ("127.0.0.1", lab_registry.PLAIN_PORT))
        wait_for("engine", processes[0], socket.AF_UNIX, f"{inside}/docker.sock")
        base_image()
        print(json.dumps({"ok": None}), file=answers, flush=True)
        for line in sys.stdin:
            try:
                reply = {"ok": answer(json.loads(line))}
            except Exception as error:  # the test that asked says what went wrong
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), file=answers, flush=True)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        subprocess.run(["umount", "--lazy", "/etc", str(inside)], capture_output=True)
        shutil.rmtree(outside, ignore_errors=True)


main()
