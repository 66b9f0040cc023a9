"""Code that tries to get out of a sandbox or to use more than its share.

Each case is the code, the limits that it meets, and a pattern of what the model reads afterwards. Where code could get
through, it prints ESCAPED. `{secret}`, `{home}`, `{port}`, ... are filled in by the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRIES = """
def tries(*attempts, errors=(OSError,)):
    for attempt in attempts:
        try:
            attempt()
        except errors as error:
            print("refused:", type(error).__name__)
        else:
            print("ESCAPED")
"""
FOREIGN = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def called(result):
    print("ESCAPED" if result >= 0 else "refused: " + os.strerror(ctypes.get_errno()))
"""


@dataclass(frozen=True)
class Case:
    code: str
    seen: str
    limits: dict[str, Any] = field(default_factory=dict)


CASES = {
    # processes and threads
    "a fork bomb": Case(
        """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        "stopped after",
        {"wall_seconds": 1.5},
    ),
    "children that sleep": Case(
        """
import os, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        children += 1
except OSError as error:
    print("refused" if children < 8 else "ESCAPED", error)
""",
        "refused",
    ),
    "a thread bomb": Case(
        """
import threading
threads = 0
try:
    while True:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        threads += 1
except RuntimeError as error:
    print("refused" if threads < 8 else "ESCAPED", error)
""",
        "refused",
    ),
    "children that detach": Case(
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(64):
            try:
                os.close(descriptor)
            except OSError:
                pass
        time.sleep(600)
    os._exit(0)
os.wait()
print("gone")
""",
        r"\Agone\Z",
    ),
    "children that keep the output open": Case(
        """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
print("gone")
""",
        r"\Agone\Z",
    ),
    "hanging with everything closed": Case(
        """
import os, time
for descriptor in range(64):
    try:
        os.close(descriptor)
    except OSError:
        pass
time.sleep(600)
""",
        "stopped after",
        {"wall_seconds": 1.0},
    ),
    "orphans that print for ever": Case(
        """
import os
if os.fork() == 0:
    os.setsid()
    while True:
        os.write(1, b"x" * 4096)
os.wait()
""",
        "stopped after",
    ),
    # time
    "an endless loop": Case("while True: pass", "stopped after 1 s", {"wall_seconds": 1.0}),
    "an endless loop deaf to signals": Case(
        """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True: pass
""",
        "killed",
    ),
    "an endless loop in C": Case("9 ** 9 ** 9", "stopped after 1 s|MemoryError", {"wall_seconds": 1.0}),
    "an endless sleep": Case("import time; time.sleep(600)", "stopped after", {"wall_seconds": 1.0}),
    "stopping itself": Case("import os; os.kill(os.getpid(), 19)", "stopped after", {"wall_seconds": 1.0}),
    "an endless message": Case(
        """
class Endless(Exception):
    def __str__(self):
        while True: pass
raise Endless
""",
        "stopped after 1 s",
        {"wall_seconds": 1.0},
    ),
    # memory
    "a memory bomb": Case("block = []\nwhile True: block.append(bytearray(1 << 24))", "MemoryError"),
    "one large block": Case("bytearray(64 << 30)", "MemoryError"),
    "a memory bomb in every child": Case(
        """
import os
for _ in range(3):
    if os.fork() == 0:
        blocks = []
        try:
            while True: blocks.append(bytearray(1 << 24))
        except MemoryError:
            os._exit(7)
for _ in range(3):
    print("refused" if os.waitstatus_to_exitcode(os.wait()[1]) == 7 else "ESCAPED")
""",
        "(refused\n){2}refused",
    ),
    "memory mapped and shared": Case(TRIES + "import mmap\ntries(lambda: mmap.mmap(-1, 8 << 30))", "refused"),
    "memory that no limit counts": Case(
        FOREIGN
        + "called(libc.memfd_create(b'x', 0)); called(libc.shmget(0, 1 << 30, 0o1777)); called(libc.msgget(0, 0o1777))",
        "refused.*\nrefused.*\nrefused",
    ),
    # output
    "endless output": Case("while True: print('spam')", "left out(.|\n)*stopped after printing more than 1 MB"),
    "endless output in one line": Case(
        "import sys\nwhile True: sys.stdout.write('x' * 65536)", "left out(.|\n)*stopped after printing more than 1 MB"
    ),
    "endless errors": Case(
        "import sys\nwhile True: print('spam', file=sys.stderr)", "left out(.|\n)*stopped after printing more than 1 MB"
    ),
    "output that is no text": Case("import os; os.write(1, bytes(range(256)) * 4)", "\N{REPLACEMENT CHARACTER}"),
    "escape sequences": Case(r"print('\x1b[2J\x1b]0;owned\x07 done')", r"\A[^\x1b\x07]*done\Z"),
    "a huge message": Case("raise ValueError('x' * 10**7)", r"\AError: ValueError: x{10,2000}\n  line 1: raise"),
    "a message that raises": Case(
        "class Bad(Exception):\n    def __str__(self): raise KeyError\nraise Bad", "Bad: .its message cannot be shown"
    ),
    "writing where only the sandbox writes": Case(
        """
import os
for descriptor in range(3, 64):
    try:
        while True: os.write(descriptor, b"started and fine " * 1000)
    except OSError:
        pass
""",
        "stopped after printing more than 1 MB",
    ),
    # the streams
    "reading stdin": Case("input()", "EOFError"),
    "reading stdin below Python": Case("import os; print(os.read(0, 100))", r"\Ab''\Z"),
    "no stdout any more": Case(
        "import sys; sys.stdout.close(); sys.stdout = None; sys.stderr = None", "nothing was printed"
    ),
    "another stdout": Case(
        """
import sys
class Trap:
    def write(self, text): raise SystemExit(0)
    def flush(self): raise KeyboardInterrupt
sys.stdout = sys.__stdout__ = Trap()
raise ValueError("still told")
""",
        "ValueError: still told",
    ),
    "leaving at once": Case("import os; print('x'); os._exit(7)", "ended with exit status 7"),
    "leaving in the middle of the rules": Case("raise SystemExit('enough')", "SystemExit: enough"),
    # crashes
    "a crash": Case("import ctypes; ctypes.string_at(0)", "crashed .SIGSEGV"),
    "an abort": Case("import os; os.abort()", "crashed .SIGABRT"),
    "deep recursion": Case(
        "def f(n): return f(n + 1)\nf(0)",
        r"RecursionError.*\n  line 2: f\(0\)\n  line 1: def f\(n\): return f\(n \+ 1\)\Z",
    ),
    "recursion through C": Case(
        """
import sys
sys.setrecursionlimit(10**9)
class Endless:
    def __getattr__(self, name): return getattr(self, name)
Endless().x
""",
        "crashed|RecursionError|MemoryError",
    ),
    # files
    "reading keys": Case(
        TRIES
        + "import os\ntries(*(lambda p=p: open(p).read() for p in ('{home}/.ssh/id_rsa', '{real_home}/.ssh/id_rsa', "
        "os.path.expanduser('~/.ssh/id_rsa'), '/root/.bashrc', '/etc/passwd', '/etc/shadow', '/etc/hosts')))",
        "(refused.*\n){6}refused",
    ),
    "reading secrets": Case(
        TRIES + "import os\ntries(lambda: open('{secret}').read(), lambda: os.listdir('{secret_folder}'), "
        "lambda: open('/tmp/{temporary}').read())",
        "(refused.*\n){2}refused",
    ),
    "reading our sources": Case(
        TRIES + "import os\ntries(lambda: open('{source}').read(), lambda: os.listdir('{repository}/.git'), "
        "lambda: os.listdir('{repository}/programs'))",
        "(refused.*\n){2}refused",
    ),
    "reading the parent's memory": Case(
        TRIES
        + "import os\ntries(*(lambda p=p: open(p, 'rb').read(1) for p in ('/proc/{parent}/environ', '/proc/1/environ', "
        "'/proc/self/environ', '/proc/{parent}/mem', '/proc/1/root/etc/passwd', '/proc/kcore', '/sys/kernel/notes')))",
        "(refused.*\n){6}refused",
    ),
    "reading the environment": Case(
        "import os\nprint('ESCAPED' if '{value}' in str(dict(os.environ)) else sorted(os.environ))",
        r"\A\['HOME', 'LANG', 'MARK', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PWD', "
        r"'PYTHONHASHSEED', 'TMPDIR'\]\Z",
    ),
    "the environment below Python": Case(
        FOREIGN + "libc.getenv.restype = ctypes.c_char_p\nprint(libc.getenv(b'SECRET_OF_THE_TEST'))", r"\ANone\Z"
    ),
    "descriptors of the parent": Case(
        """
import os
for descriptor in range(3, 64):
    try:
        if b"{value}" in os.pread(descriptor, 100, 0): print("ESCAPED")
    except OSError:
        pass
print("looked")
""",
        r"\Alooked\Z",
    ),
    "writing outside": Case(
        TRIES
        + "import os, sys\ntries(*(lambda p=p: open(p, 'w') for p in ('/planted', '/etc/planted', '/usr/lib/planted', "
        "'/sandbox/inside.py', os.__file__, sys.executable, '/dev/planted', '{secret_folder}/planted')), "
        "lambda: os.mkdir('/planted'), lambda: os.chmod('/', 0o777), lambda: os.remove(os.__file__))",
        "(refused.*\n){10}refused",
    ),
    "symbolic links": Case(
        TRIES
        + "import os\nos.symlink('{secret}', 'link'); os.symlink('/proc/1/root', 'root'); os.symlink('..', 'up')\n"
        "tries(lambda: open('link').read(), lambda: os.listdir('root'), lambda: open('up/planted', 'w'), "
        "lambda: os.link('/sandbox/inside.py', 'hard'), lambda: os.rename('/usr/lib', '/scratch/lib'))",
        "(refused.*\n){4}refused",
    ),
    "an archive that climbs out": Case(
        TRIES
        + """
import tarfile, zipfile, io
tarfile.TarFile.extraction_filter = staticmethod(lambda member, path: member)
with zipfile.ZipFile("a.zip", "w") as archive:
    archive.writestr("../../../planted", "x")
zipfile.ZipFile("a.zip").extractall("/scratch/out")
with tarfile.open("a.tar", "w") as archive:
    for name in ("../../planted", "/usr/lib/planted"):
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
for member in tarfile.open("a.tar"):
    tries(lambda: tarfile.open("a.tar").extract(member, "/scratch/out"))
""",
        "refused.*\nrefused",
    ),
    "an archive that explodes": Case(
        TRIES
        + """
import zipfile
with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for number in range(10):
        archive.writestr(f"{number}", bytes(1 << 20))
tries(lambda: zipfile.ZipFile("bomb.zip").extractall("out"))
""",
        "refused",
    ),
    "filling the scratch folder": Case(
        TRIES
        + """
def fill():
    for number in range(64):
        with open(f"{number}", "wb") as file:
            file.write(bytes(1 << 20))
tries(fill)
""",
        "refused",
    ),
    "one large file": Case(TRIES + "tries(lambda: open('x', 'wb').truncate(1 << 40))", "refused"),
    "shared memory as a file": Case(TRIES + "tries(lambda: open('/dev/shm/x', 'wb').truncate(1 << 40))", "refused"),
    "many small files": Case(
        "number = 0\nwhile True:\n    open(f'{number}', 'w').close()\n    number += 1",
        "stopped after making more than 500 files",
        {"scratch_files": 500, "cpu_seconds": 20, "wall_seconds": 20.0},
    ),
    "many open files": Case(TRIES + "tries(lambda: [open('/dev/null') for _ in range(10_000)])", "refused"),
    "device files": Case(
        TRIES + "import os, stat\ntries(lambda: os.mknod('disk', 0o666 | stat.S_IFBLK, os.makedev(254, 0)), "
        "lambda: open('/dev/vda'), lambda: open('/dev/mem'), lambda: open('/dev/kmsg'), lambda: open('/dev/tty'))",
        "(refused.*\n){4}refused",
    ),
    # the network
    "TCP to loopback": Case(
        TRIES + "import socket\ntries(lambda: socket.create_connection(('127.0.0.1', {port}), 2))", "refused"
    ),
    "TCP to the outside": Case(
        TRIES + "import socket\ntries(lambda: socket.create_connection(('192.0.2.1', 80), 2), "
        "lambda: socket.create_connection(('169.254.169.254', 80), 2), lambda: socket.getaddrinfo('example.org', 80))",
        "(refused.*\n){2}refused",
    ),
    "every family of sockets": Case(
        TRIES
        + """
import socket
tries(*(lambda f=family, k=kind: socket.socket(f, k) for family in (1, 2, 10, 16, 17, 38, 40) for kind in (1, 2, 3)))
""",
        "(refused.*\n){20}refused",
    ),
    "a path to a Unix socket": Case(
        TRIES + "import socket\ntries(lambda: socket.socket(socket.AF_UNIX).connect('{unix}'), "
        "lambda: socket.socket(socket.AF_UNIX).connect('\\0{abstract}'))",
        "refused.*\nrefused",
    ),
    "sockets below Python": Case(
        FOREIGN + "called(libc.socket(2, 1, 0)); called(libc.socket(40, 1, 0))", "refused.*\nrefused"
    ),
    # other processes, and rights
    "signalling the parent": Case(
        TRIES + "import os\ntries(lambda: os.kill({parent}, 9), lambda: os.kill({sibling}, 9), errors=(OSError,))",
        "refused.*\nrefused",
    ),
    "signalling everybody": Case("import os; os.kill(-1, 9); print('alone')", r"\Aalone\Z|ProcessLookupError"),
    "signalling the first process": Case(
        "import os\ntry: os.kill(1, 9)\nexcept OSError: pass\nprint('still here')", r"\Astill here\Z"
    ),
    "ptrace": Case(FOREIGN + "called(libc.ptrace(16, 1, 0, 0)); called(libc.ptrace(0, 0, 0, 0))", "refused.*\nrefused"),
    "mount": Case(
        FOREIGN + "called(libc.mount(b'none', b'/scratch', b'tmpfs', 0, 0)); called(libc.umount2(b'/usr/lib', 2)); "
        "called(libc.chroot(b'/scratch'))",
        "refused.*\nrefused.*\nrefused",
    ),
    "new namespaces": Case(
        FOREIGN + "called(libc.unshare(0x10000000)); called(libc.unshare(0x00020000)); called(libc.setns(0, 0)); "
        "called(libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0))",
        "(refused.*\n){3}refused",
    ),
    "becoming root": Case(
        TRIES + "import os\ntries(lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), "
        "lambda: os.seteuid(0), lambda: os.nice(-10))",
        "(refused.*\n){4}refused",
    ),
    "programs that run as root": Case(
        TRIES + "import subprocess\ntries(*(lambda p=p: subprocess.run([p]) for p in ('/bin/su', '/usr/bin/sudo', "
        "'/usr/bin/passwd', '/bin/sh', 'sh', 'bwrap')))",
        "(refused.*\n){5}refused",
    ),
    "raising its own limits": Case(
        TRIES
        + """
import resource
def raised(name):
    limit = getattr(resource, name)
    resource.setrlimit(limit, (resource.getrlimit(limit)[1] + 1,) * 2)
names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE")
tries(*(lambda n=name: raised(n) for name in names), errors=(ValueError, OSError))
""",
        "(refused.*\n){5}refused",
    ),
    "a new program in its place": Case(
        '''
import os, sys
code = """
import os, time
try:
    while True: os.fork() or time.sleep(600)
except OSError:
    print("refused")
"""
os.execv(sys.executable, [sys.executable, "-S", "-c", code])
''',
        "refused",
    ),
    "the machine's clock and name": Case(
        TRIES + "import time, socket\ntries(lambda: time.clock_settime(0, 0), lambda: socket.sethostname('owned'))",
        "refused.*\nrefused",
    ),
}
