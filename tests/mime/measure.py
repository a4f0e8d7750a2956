"""How fast the scanner is: ``python -m tests.mime.measure``. Prints figures, asserts nothing.

Each message is scanned several times and the best time counts, so that other work on the machine matters little.
"""

from __future__ import annotations

import sys
import time

from postroom.mime.scanner import scan
from tests.corpus import messages
from tests.mime.test_bombs import BOMBS


def best(octets: bytes, times: int) -> float:
    """Seconds of the fastest of several scans."""
    found = 1e9
    for _ in range(times):
        start = time.perf_counter()
        scan(octets)
        found = min(found, time.perf_counter() - start)
    return found


def main() -> None:
    """Real messages of 3-5 KB, then every bomb."""
    sizes = [octets for _, octets in messages() if 3000 <= len(octets) <= 5000] or [m for _, m in messages()]
    taken = sorted(best(octets, 5) for octets in sizes)
    average = sum(taken) / len(taken)
    out = sys.stdout
    out.write(
        f"{len(sizes)} messages: median {taken[len(taken) // 2] * 1e6:.0f} us, average {average * 1e6:.0f} us, "
    )
    out.write(f"{1 / average:.0f}/s\n")
    for name, (make, count) in BOMBS.items():
        octets = make(count)
        seconds = best(octets, 2)
        out.write(
            f"{name:24} {len(octets) / 1e6:6.2f} MB {seconds:6.3f} s {seconds * 1e9 / len(octets):7.1f} ms/MB\n"
        )


if __name__ == "__main__":
    main()
