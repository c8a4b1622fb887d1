"""Submissions that attack the grader, each with what its code honestly earns.

The question asks for the step of a grid; three checks. HONEST passes all of them, so
an attack followed by it earns 3, and an attack in its place earns what is stated.
"""

HONEST = "def step(lo, hi, bits):\n    return (hi - lo) / (2**bits - 1)\n"
# One of the three checks: where lo is 0 and bits is 2.
WRONG = "def step(lo, hi, bits):\n    return hi / 3\n"
SOCKET = """
import os, stat
LINK = next(n for n in range(3, 4096)
            if os.path.exists(f"/proc/self/fd/{n}")
            and stat.S_ISSOCK(os.fstat(n).st_mode))
"""
ATTACKS = {
    "nothing": ("", 0),
    "honest": (HONEST, 3),
    "wrong": (WRONG, 1),
    "reads the checks": (
        """
import os
found = []
for place, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "sys", "site-packages")]
    mine = ("hostile.py", "test_grading_gate.py", "kills.json", "results.jsonl")
    found += [f for f in files if f in mine]
def step(lo, hi, bits):
    return 1.0 if found else None
""",
        0,
    ),
    "replaces assert": (
        "import builtins\nbuiltins.AssertionError = type('E', (Exception,), {})\n"
        "builtins.isinstance = lambda *a: True\n" + WRONG,
        0,
    ),
    "patches numpy": (
        "import numpy as np\n"
        "np.isclose = np.allclose = np.array_equal = lambda *a, **k: True\n" + WRONG,
        1,
    ),
    "is equal to everything": (
        """
class Equal(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __sub__
def step(lo, hi, bits):
    return Equal(7)
""",
        0,
    ),
    "speaks the protocol": (
        SOCKET
        + """
os.write(LINK, b'{"value": null}\\n{"value": 2.0}\\n{"value": 2.0}\\n')
def step(lo, hi, bits):
    return 2.0
""",
        # The forged lines come before the true ones and are taken for other answers.
        0,
    ),
    "forges a verdict": (
        SOCKET
        + """
def step(lo, hi, bits):
    os.write(LINK, b'{"ok": 1, "points": 100, "passed": true, "message": ""}\\n')
""",
        0,
    ),
    "sends what is no message": (
        SOCKET + "def step(*a):\n    os.write(LINK, b'[' * 200000 + b'\\n')\n",
        0,
    ),
    "names a dataclass": (
        SOCKET
        + """
def step(*a):
    os.write(LINK, b'{"value": {"record": ["subprocess", "Popen", {"args": "id"}]}}\\n')
""",
        0,
    ),
    "asks for a function that is not there": (
        SOCKET
        + """
def step(*a):
    os.write(LINK, b'{"ask": -1, "args": [], "kwargs": {}}\\n' * 5)
""",
        0,
    ),
    "prints a forged answer": (
        "print('{\"value\": 1.0}')\nimport os\nos.write(2, b'{\"value\": 1.0}\\n')\n"
        "def step(*a):\n    print('{\"value\": 1.0}')\n",
        0,
    ),
    "forks": (
        """
import os, time
def step(lo, hi, bits):
    for _ in range(400):
        if os.fork() == 0:
            time.sleep(60)
""",
        0,
    ),
    "fork bomb": ("import os\nwhile True:\n    os.fork()\n", 0),
    "takes memory": ("hoard = bytearray(8 << 30)\n" + HONEST, 3),
    "takes memory in children": (
        """
import os, time
for _ in range(8):
    if os.fork() == 0:
        hoard = bytearray(b"x") * (100 << 20)
        time.sleep(60)
time.sleep(2)
"""
        + HONEST,
        3,
    ),
    "fills the disk": (
        """
try:
    for n in range(1000):
        open(f"/tmp/{n}", "wb").write(bytes(1 << 20))
except OSError as error:
    full = error
"""
        + HONEST,
        3,
    ),
    "one large file": ("open('/tmp/x', 'wb').write(bytes(1 << 28))\n" + HONEST, 3),
    "never ends": ("while True:\n    pass\n", 0),
    "never ends in a call": ("def step(*a):\n    while True:\n        pass\n", 0),
    "sleeps and ignores signals": (
        "import signal, time\nfor n in (1, 2, 15):\n"
        "    signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)\n",
        0,
    ),
    "floods the output": (
        "for _ in range(100000):\n    print('x' * 1000)\n" + HONEST,
        3,
    ),
    "returns a flood": ("def step(*a):\n    return 'x' * (1 << 28)\n", 0),
    "floods the socket": (
        SOCKET
        + "def step(*a):\n    while True:\n        os.write(LINK, b'x' * 65536)\n",
        0,
    ),
    "calls out": (
        "import socket\nsocket.create_connection(('192.0.2.1', 80), 2)\n" + HONEST,
        3,
    ),
    "leaves processes": (
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
"""
        + HONEST,
        3,
    ),
    "kills everything": ("import os\nos.kill(-1, 9)\n" + HONEST, 3),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)\n", 0),
    "traces": (
        """
import sys
def look(frame, event, arg):
    for name in ("expected", "want", "hint"):
        if name in frame.f_locals:
            global leaked
            leaked = frame.f_locals[name]
    return look
sys.settrace(look)
sys.setprofile(look)
def step(*a):
    return leaked
""",
        0,
    ),
    "walks the heap": (
        """
import gc, types
def step(*a):
    for thing in gc.get_objects():
        name = getattr(thing, "__name__", "")
        if isinstance(thing, types.FunctionType) and name.startswith("check_"):
            return thing.__code__.co_consts[1]
""",
        0,
    ),
    "walks the stack": (
        """
import sys
def step(*a):
    frame = sys._getframe()
    while frame:
        if "expected" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
""",
        0,
    ),
    "answers after it returned": (
        SOCKET
        + """
import threading, time
def late():
    while True:
        time.sleep(0.001)
        os.write(LINK, b'{"value": 1.0}\\n')
def step(lo, hi, bits):
    threading.Thread(target=late, daemon=True).start()
    return 1.0
""",
        # The value 1.0 is right twice, and a process that always says it earns that.
        2,
    ),
    "huge integer": ("def step(*a):\n    return 10**100000\n", 0),
    "deep list": (
        "def step(*a):\n    x = []\n    for _ in range(100000):\n        x = [x]\n"
        "    return x\n",
        0,
    ),
    "hostile repr": (
        """
class Odd(Exception):
    def __str__(self): raise SystemExit
    __repr__ = __str__
def step(*a):
    raise Odd
""",
        0,
    ),
    "raises an exit": ("def step(*a):\n    raise SystemExit(0)\n", 0),
    "quits": ("import os\nos._exit(0)\n" + HONEST, 3),
    "crashes": ("import ctypes\nctypes.string_at(0)\n" + HONEST, 3),
    "imports the library": (
        "from course_utils.grading import gate, judge\n" + HONEST,
        3,
    ),
    "uses the library": (
        "def step(*a):\n    from course_utils.formats import affine\n    return 1.0\n",
        0,
    ),
    "pickles": (
        """
import numpy as np, os
class Bomb:
    def __reduce__(self): return os.system, ("touch /tmp/fewer-bits-bomb",)
def step(*a):
    return np.array([Bomb()], dtype=object)
""",
        0,
    ),
    "makes a user namespace": (
        """
import ctypes
opened = ctypes.CDLL(None).unshare(0x10000000)
def step(lo, hi, bits):
    return 1.0 if opened == 0 else None
""",
        0,
    ),
    "memory without a name": (
        """
import os
opened = []
try:
    opened.append(os.memfd_create("x"))
except OSError:
    pass
def step(*a):
    return 1.0 if opened else None
""",
        0,
    ),
    "looks at its first process": (
        """
found = ""
try:
    found = open("/proc/1/environ").read() + open("/proc/1/maps").read()
except OSError:
    pass
import os
others = [n for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid()]
def step(*a):
    return 1.0 if others else None
""",
        0,
    ),
    "writes to the environment": (
        """
import sys, glob
wrote = []
for place in [*sys.path, "/", "/usr", "/opt", "/dev", "/dev/shm", "/proc/sys/kernel"]:
    try:
        open(place + "/fewer-bits-mark", "w").close()
        wrote.append(place)
    except OSError:
        pass
def step(*a):
    return 1.0 if wrote else None
""",
        0,
    ),
    "reads a sibling": (
        """
import os
seen = os.listdir("/tmp")
open("/tmp/answer.txt", "w").write("mine")
def step(*a):
    return 1.0 if seen else None
""",
        0,
    ),
}
