"""How the jobs of all peers are timed and told."""

import json
import statistics
import sys
import time

WARM_UP = 5


def timed(functions, runs, warm_up=WARM_UP):
    """Times in ms; the functions take turns, so that a busy moment of the machine meets them all."""
    times = [[] for _ in functions]
    for run in range(-warm_up, runs):
        for function, of_function in zip(functions, times):
            begun = time.perf_counter()
            function()
            if run >= 0:
                of_function.append((time.perf_counter() - begun) * 1e3)
    return times


class Report:
    """Collects the modes of one job; a mode that cannot run here is told, and does not count."""

    def __init__(self, job):
        self.job, self.found, self.skipped, self.extra = job, {}, {}, {}

    def add(self, mode, times):
        self.found[mode] = {"ms": round(statistics.median(times), 4), "minMs": round(min(times), 4)}

    def skip(self, mode, error):
        self.skipped[mode] = (str(error).strip() or type(error).__name__).splitlines()[0][:200]

    def print(self):
        if not self.found:
            sys.exit(f"{self.job}: no mode could run: {self.skipped}")
        mode = min(self.found, key=lambda name: self.found[name]["ms"])
        line = {"job": self.job, **self.found[mode], "mode": mode, "modes": self.found, **self.extra}
        print(json.dumps({**line, **({"skipped": self.skipped} if self.skipped else {})}), flush=True)
