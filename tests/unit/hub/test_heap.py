"""Memory that a burst needed goes back to the machine."""

import subprocess
import sys

PROGRAM = """
import ctypes, time
from footplate_hub import heap
heap._EVERY = 0.05
assert heap.watch()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
taken = [libc.malloc(100_000) for _ in range(1000)]
for address in taken:
    ctypes.memset(ctypes.c_void_p(address), 1, 100_000)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
full = resident()
for address in taken[:-1]:  # the last one keeps the heap from shrinking at its end
    libc.free(address)
until = time.monotonic() + 20
while resident() > full - 80_000_000 and time.monotonic() < until:
    time.sleep(0.02)
print(full - resident())
"""


def test_what_was_freed_in_the_middle_of_the_heap_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 80_000_000
