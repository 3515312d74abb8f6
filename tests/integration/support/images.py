"""Images of this machine's own programs, as tars for `docker import`: no registry and no package archive is needed.

Arguments: what (`toolchain`, `alpine`, `debian`), the file to write, a statically linked busybox.

- toolchain: cargo, rustc and what links a program; a shell and tools by busybox.
- alpine: busybox alone, with the C library that the binaries of the toolchain want (Alpine's own is another).
- debian: a shell and tools that are not busybox.
"""

import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile

PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
GROUP = "root:x:0:\ndaemon:x:1:\n"
# For the linker: what gcc itself and the C library bring.
OBJECTS = (
    "crt1.o Scrt1.o rcrt1.o crti.o crtn.o crtbegin.o crtbeginS.o crtbeginT.o crtend.o crtendS.o libgcc.a libgcc_eh.a libgcc_s.so"
    " libgcc_s.so.1 libc.so libc.so.6 libc.a libc_nonshared.a libm.so libm.so.6 libm.a libmvec.so.1 libmvec.a libpthread.a libdl.a"
    " librt.a libutil.a ld-linux-x86-64.so.2 ld-linux-aarch64.so.1 libm-2.36.a"
)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Image:
    def __init__(self, path):
        self.tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)
        self.names = set()
        # A folder whose libraries get another place.
        self.elsewhere = "\0"

    def add(self, source, name=None):
        """A file under its own name, which is not led through links of folders (/lib64), or another."""
        source = os.path.join(os.path.realpath(os.path.dirname(source)), os.path.basename(source))
        real, name = os.path.realpath(source), (name or source).lstrip("/")
        if name in self.names:
            return
        self.parents(name)
        info = self.tar.gettarinfo(real, name)
        info.type, info.uid, info.gid, info.uname, info.gname = tarfile.REGTYPE, 0, 0, "", ""
        info.size = os.path.getsize(real)
        self.names.add(name)
        with open(real, "rb") as file:
            self.tar.addfile(info, file)

    def program(self, source, name=None):
        """With the libraries it is linked to."""
        self.add(source, name)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for library in re.findall(r"(?:=> |^\s*)(/\S+) \(", listed, re.M):
            if not library.startswith(self.elsewhere):
                self.add(library)

    def text(self, name, content):
        self.parents(name)
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        self.tar.addfile(info, io.BytesIO(content.encode()))

    def link(self, name, target):
        if name not in self.names:
            self.parents(name)
            self.names.add(name)
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            self.tar.addfile(info)

    def parents(self, name):
        for folder in reversed(pathlib.PurePath(name).parents[:-1]):
            self.folder(str(folder))

    def folder(self, name, mode=0o755):
        if name not in self.names:
            self.names.add(name)
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            self.tar.addfile(info)

    def basics(self):
        for name in ["lib", "lib64", "bin", "sbin"]:
            self.folder(f"usr/{name}")
            self.link(name, f"usr/{name}")
        self.folder("tmp", 0o1777)
        self.text("etc/passwd", PASSWD)
        self.text("etc/group", GROUP)
        # The loader stands in programs by this name.
        for loader in pathlib.Path("/lib64").glob("ld-linux*") if os.path.isdir("/lib64") else []:
            self.add(os.path.realpath(loader), f"usr/lib64/{loader.name}")

    def busybox(self, program):
        self.add(program, "usr/bin/busybox")
        for applet in output(program, "--list").split():
            self.link(f"usr/bin/{applet}", "busybox")


def found_by_gcc(kind, name):
    path = output("gcc", f"-print-{kind}-name={name}").strip()
    if "/" in path:
        return os.path.normpath(path)
    return output("sh", "-c", f"command -v {path}").strip() if kind == "prog" else None


def toolchain(image, busybox):
    image.basics()
    image.elsewhere = sysroot = output("rustc", "--print", "sysroot").strip()
    target = re.search(r"^host: (\S+)", output("rustc", "-vV"), re.M)[1]
    for program in ["cargo", "rustc"]:
        image.program(f"{sysroot}/bin/{program}", f"usr/local/bin/{program}")
    libraries = [*pathlib.Path(sysroot, "lib").glob("*.so*"), *pathlib.Path(sysroot, f"lib/rustlib/{target}/lib").iterdir()]
    for library in (library for library in libraries if not library.name.startswith("librustc-")):
        image.add(str(library), f"usr/local/{library.relative_to(sysroot)}")
    # What rustc links by since 1.90.
    for program in ["rust-lld", "gcc-ld/ld.lld"]:
        program = f"{sysroot}/lib/rustlib/{target}/bin/{program}"
        if os.path.exists(program):
            image.program(program, f"usr/local/{os.path.relpath(program, sysroot)}")
    driver = os.path.realpath(output("sh", "-c", "command -v gcc").strip())
    image.program(driver)
    for name in ["gcc", "cc"]:
        image.link(f"usr/bin/{name}", driver)
    for program in ["collect2", "ld", "lto-wrapper"]:
        found = found_by_gcc("prog", program)
        image.program(os.path.realpath(found))
        image.link(found.lstrip("/"), os.path.realpath(found))
    for name in ["liblto_plugin.so", *OBJECTS.split()]:
        found = found_by_gcc("file", name)
        if found:
            image.add(found)
    image.busybox(busybox)


def alpine(image, busybox):
    image.basics()
    libraries(image)
    image.busybox(busybox)


def debian(image, _):
    image.basics()
    libraries(image)
    for name in ["sh", "cat", "id", "ls", "sleep"]:
        found = output("sh", "-c", f"command -v {name}").strip()
        image.program(os.path.realpath(found), f"usr/bin/{name}")


def libraries(image):
    """For a binary of Rust."""
    for name in ["libc.so.6", "libm.so.6", "libgcc_s.so.1"]:
        image.add(found_by_gcc("file", name))


def main():
    what, path, busybox = sys.argv[1:]
    # Whole or not at all.
    image = Image(path + ".new")
    {"toolchain": toolchain, "alpine": alpine, "debian": debian}[what](image, busybox)
    image.tar.close()
    os.rename(path + ".new", path)


main()
