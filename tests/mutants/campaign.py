"""The fuzz campaign: seeded mutants of every kind of foreign file go through the command line and the API.

    python tests/mutants/campaign.py KIND [--seed N] [--count N] [--first N] [--folder DIR] [--from FILE_OR_FOLDER]…

Each verb ends in a result or an MnedgeError, within 10 s of CPU time and 2 GB of memory, and leaves nothing behind
where it fails. One process imports everything once and runs the verbs of all mutants; this one watches it: a signal
or a hang ends it, is a fault, and the next mutant gets a new process. Exits with 1 where faults were found.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_CPU_S = 10.0
MOST_BYTES = 2 << 30
# The machine may be busy, and a verb that waits for nothing takes no CPU time.
_WATCH_S = 300.0
# TensorFlow may have to come from a cold disk.
_START_S = 600.0


@dataclass
class Account:
    """What became of the mutants of one kind.

    Attributes:
        faults: Descriptions, each with the mutant's number and verb.
        ends: How often each verb ended in which way.
        mutants: Number of mutants.
        longest_cpu_s: CPU time of the slowest verb, with what it was.
        most_bytes: Memory of the largest verb, with what it was.
    """

    faults: list[str] = field(default_factory=list)
    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    mutants: int = 0
    longest_cpu_s: tuple[float, str] = (0.0, "")
    most_bytes: tuple[int, str] = (0, "")

    def add(self, told: dict[str, Any]) -> None:
        """Adds the end of one verb."""
        where = f"mutant {told['number']}, {told['verb']}"
        self.ends[f"{told['verb'].split()[0]}: {told['end'].splitlines()[0][:60]}"] += 1
        if told["fault"]:
            self.faults.append(f"{where}: {told['end']}")
        cpu_s, peak = told.get("cpu_s", 0.0), told.get("peak", 0)
        if cpu_s > LONGEST_CPU_S and not told["fault"]:
            self.faults.append(f"{where}: {cpu_s:.1f} s of CPU time")
        if peak > MOST_BYTES:
            self.faults.append(f"{where}: {peak:,} bytes")
        self.longest_cpu_s = max(self.longest_cpu_s, (cpu_s, where))
        self.most_bytes = max(self.most_bytes, (peak, where))

    def text(self) -> str:
        """The account in lines."""
        ends = [f"  {count:>7,}  {end}" for end, count in sorted(self.ends.items())]
        return "\n".join([
            f"{self.mutants:,} mutants, {self.ends.total():,} verbs, {len(self.faults):,} faults",
            *ends,
            f"  longest: {self.longest_cpu_s[0]:.1f} s of CPU time ({self.longest_cpu_s[1]})",
            f"  largest: {self.most_bytes[0]:,} bytes ({self.most_bytes[1]})",
            *(f"FAULT {fault}" for fault in self.faults),
        ])  # fmt: skip


def run(kind: str, *, seed: int, count: int, folder: Path, sources: list[str], first: int = 0) -> Account:
    """Runs mutants of a kind, and watches them from outside."""
    account, log = Account(), folder / "log.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        for told in _ends(kind, seed, first, count, folder, sources):
            stream.write(json.dumps(told) + "\n")
            stream.flush()
            account.add(told)
            account.mutants = told["number"] + 1 - first
    return account


def _ends(kind: str, seed: int, first: int, count: int, folder: Path, sources: list[str]) -> Iterator[dict[str, Any]]:
    end = first + count
    while first < end:
        arguments = [kind, str(seed), str(first), str(end - first), str(folder), *sources]
        last: dict[str, Any] = {"number": first - 1, "verb": "start"}
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), *arguments]
        with (
            (folder / "stderr.txt").open("wb") as words,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, start_new_session=True) as process,
        ):
            for told in _lines(process):
                last = told
                if "end" in told:
                    yield told
            _kill(process)
            if last["number"] == end:
                return
            said = (folder / "stderr.txt").read_text(errors="replace")[-2000:]
            assert last["number"] >= first, f"the verbs of {kind} do not start: {said}"
            yield {**last, "fault": True, "end": f"{_told(process.returncode)}: {said}"}
        first = int(last["number"]) + 1


def _lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    limit_s, rest = _START_S, b""
    while True:
        if not selector.select(limit_s):
            return
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            process.wait()
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            limit_s = _WATCH_S
            yield json.loads(line)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _told(returncode: int) -> str:
    if returncode == -signal.SIGKILL:
        return f"hang: nothing within {_WATCH_S:.0f} s"
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"status {returncode}"


def main() -> int:
    """Parses the command line, runs, and prints the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("mutants"))
    parser.add_argument("--from", dest="sources", action="append", default=[])
    given = parser.parse_args()
    begin = time.monotonic()
    account = run(
        given.kind,
        seed=given.seed,
        count=given.count,
        folder=given.folder.resolve(),
        sources=given.sources,
        first=given.first,
    )
    sys.stdout.write(f"{given.kind}, seed {given.seed}, {time.monotonic() - begin:.0f} s: {account.text()}\n")
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
