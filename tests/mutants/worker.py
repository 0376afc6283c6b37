"""The process that runs the verbs of mutants, one after the other, and tells how each of them ended.

`campaign.py` starts it. It imports everything once; what the product starts as another Python is a fork of it, with
the same code in a process of its own, so that a mutant costs no import.
"""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from typer.main import get_command

from mnedge import cli, command, registry
from mnedge.cli import _group
from mnedge.errors import MnedgeError
from tests.mutants import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LONGEST_CPU_S = 10.0
# Native code that never comes back to Python ends here, by SIGXCPU.
_NATIVE_CPU_S = 20
_MORE_BYTES = 2 << 30
_GOOD = (0, 2, 3, 4)
# Commands that end with 1 where a gate fails or a picture cannot be read.
_MAY_FAIL = ("predict", "compare", "validate")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BUG = re.compile(r"the traceback is in (\S+);")


class LateError(BaseException):
    """A verb took its CPU time; no handler of the product takes it for something else."""


def _late(*_: object) -> NoReturn:
    raise LateError


class _Forked(subprocess.Popen[bytes]):
    """Another Python, as a fork of this one: `-c CODE ARGUMENT…` runs in it as in a new one."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:
        (_, _, _, pass_fds, cwd, env, _, _, _, stdin, own_in, own_out, stdout, own_err, stderr, *_) = rest
        pid = os.fork()
        if pid == 0:
            _be(args, pass_fds, cwd, env, (stdin, stdout, stderr))
        self.pid, self._child_created = pid, True
        for mine, theirs in ((own_in, stdin), (own_out, stdout), (own_err, stderr)):
            if theirs >= 0 and (mine >= 0 or theirs == stdin):
                os.close(theirs)


def _be(
    args: Sequence[str], pass_fds: Sequence[int], cwd: Path | None, env: Mapping[str, str] | None, ends: Sequence[int]
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        for place, end in enumerate(ends):
            os.dup2(end, place)
        kept = sorted({0, 1, 2, *pass_fds})
        for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, min(high, 4096) if high > low else low + 1)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        sys.argv = ["-c", *map(str, args[3:])]
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        exec(compile(args[2], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what `python -c` does
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    except BaseException:  # noqa: BLE001 - as Python itself
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _start(
    args: Sequence[str | Path],
    *,
    stdin: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """`command.start`, where another Python is a fork of this one."""
    if [str(arg) for arg in args[:2]] != [sys.executable, "-c"]:
        return _command_start(args, stdin=stdin, cwd=cwd, env=env, pass_fds=pass_fds)
    return _Forked(
        [str(arg) for arg in args],
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=command.environment(env),
        pass_fds=pass_fds,
    )


_command_start = command.start


class _Runner:
    """Runs verbs with their limits, and says how each ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder, folder / "tmp"
        self.pipe = os.fdopen(os.dup(1), "w")
        self.files = [(folder / name).open("w+b", buffering=0) for name in ("out.txt", "err.txt")]
        for number, file in enumerate(self.files, 1):
            os.dup2(file.fileno(), number)
        self.temporary.mkdir(exist_ok=True)
        tempfile.tempdir = os.environ["TMPDIR"] = str(self.temporary)
        self.children = 0

    def tell(self, **values: object) -> None:
        self.pipe.write(json.dumps(values) + "\n")
        self.pipe.flush()

    def verb(self, number: int, name: str, work: list[str] | Callable[[], object]) -> None:
        """Runs one verb, and tells its end."""
        self.tell(number=number, verb=name)
        for file in self.files:
            os.ftruncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        Path("/proc/self/clear_refs").write_text("5")
        before, begin_s = _cpu_s(), time.monotonic()
        _limit(int(before[0]) + _NATIVE_CPU_S, _memory("VmSize") + _MORE_BYTES)
        signal.setitimer(signal.ITIMER_PROF, _LONGEST_CPU_S)
        try:
            fault, end = self._command(work) if isinstance(work, list) else _called(work)
        except LateError:
            fault, end = True, f"more than {_LONGEST_CPU_S:g} s of CPU time\n{traceback.format_exc()[-1500:]}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        cpu_s = sum(_cpu_s()) - sum(before)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        peak = max(_memory("VmHWM"), children if children > self.children else 0)
        self.children = children
        # TensorFlow removes what AutoGraph wrote when the process ends, and this one goes on.
        left = sorted(place.name for place in self.temporary.iterdir() if not place.name.startswith("__autograph_"))
        if not fault and left:
            fault, end = True, f"{end}, and left in the temporary folder: {left[:5]}"
        for place in self.temporary.iterdir():
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink()
        self.tell(
            number=number,
            verb=name,
            end=end,
            fault=fault,
            cpu_s=round(cpu_s, 3),
            peak=peak,
            wall_s=round(time.monotonic() - begin_s, 3),
        )

    def _command(self, words: list[str]) -> tuple[bool, str]:
        try:
            cli.main(words)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else -1
        except Exception:  # noqa: BLE001 - that is what is looked for
            return True, traceback.format_exc()
        said, told = (os.pread(file.fileno(), 1 << 24, 0).decode(errors="surrogateescape") for file in self.files)
        wrong = next(_wrong(words, code, said, told), None)
        return wrong is not None, f"exit {code}" if wrong is None else f"exit {code}: {wrong}"


def _wrong(words: list[str], code: int, said: str, told: str) -> Iterator[str]:
    """What is wrong with how a command ended."""
    if code == 1 and words[0] in _MAY_FAIL:
        return
    if code not in _GOOD:
        found = _BUG.search(told)
        yield f"{told[-1500:]}\n{Path(found[1]).read_text() if found else ''}"
    if code and (not re.search("^(mnedge: |Error)", told, re.MULTILINE) or "Traceback" in told):
        yield f"no message, but {told!r}"
    if found := _CONTROL.search(said + told):
        yield f"the terminal gets {found[0]!r}: {(said + told)[-1500:]!r}"
    if code == 0 and "--json" in words:
        json.loads(said)
    outs = [Path(words[words.index(flag) + 1]) for flag in ("-o", "--out", "--save") if flag in words]
    left = [out for out in outs if os.path.lexists(out) or (out.parent.is_dir() and _scratch(out.parent))]
    if code and left:
        yield f"{left[0]} is left behind: {told}"


def _scratch(folder: Path) -> bool:
    return any(".mnedge-tmp-" in place.name for place in folder.iterdir())


def _called(work: Callable[[], object]) -> tuple[bool, str]:
    try:
        work()
    except MnedgeError as exc:
        return False, type(exc).__name__
    except Exception:  # noqa: BLE001 - that is what is looked for
        return True, traceback.format_exc()
    return False, "passed"


def _cpu_s() -> tuple[float, float]:
    """CPU seconds of this process, and of its children that ended."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime, theirs.ru_utime + theirs.ru_stime


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) * 1024


def _limit(cpu_s: int, memory_bytes: int) -> None:
    for what, soft in ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_AS, memory_bytes)):
        resource.setrlimit(what, (soft, resource.RLIM_INFINITY))


def main(name: str, seed: int, first: int, count: int, folder: Path, sources: list[str]) -> None:
    """Runs so many mutants of a kind."""
    os.environ["MNEDGE_CACHE"] = str(folder / "cache")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    place = folder / "work"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    runner = _Runner(folder)
    kind = kinds.KINDS[name](place, [Path(source) for source in sources])
    command.start = _start
    # A parser of a command line takes longer to make than most mutants to refuse; one process makes each once.
    cli.get_command = functools.cache(get_command)  # type: ignore[attr-defined] # it is there, though not for others
    _group.as_command = functools.cache(_group.as_command)
    registry.names = functools.cache(registry.names)
    gc.freeze()
    signal.signal(signal.SIGPROF, _late)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    for number in range(first, first + count):
        file = kind.mutant(np.random.default_rng([seed, number]), number)
        if file is None:
            continue
        for verb, work in kind.verbs(file, number).items():
            runner.verb(number, verb, work)
        kind.clean(file)
    runner.tell(number=first + count, verb="done")
    os._exit(0)


if __name__ == "__main__":
    _name, _seed, _first, _count, _folder, *_sources = sys.argv[1:]
    main(_name, int(_seed), int(_first), int(_count), Path(_folder), _sources)
