"""Facts about a board, a phone or a browser, its runtimes on a small model, and repairs before figures are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.results import shown
from mnedge.results.stored import ABSENT, FLAT


@dataclass(frozen=True, kw_only=True)
class BoardFacts:
    """Facts about a board; None where it reports none.

    Attributes:
        board: Model of the board.
        machine: Architecture of the kernel.
        bits: Bits of the Python there, 32 or 64.
        cpu: Names of its cores.
        cpu_features: Instruction sets.
        cores: Logical cores.
        memory_bytes: Memory.
        memory_available_bytes: Free memory.
        disk_free_bytes: Free space where temporary files go.
        os: Distribution.
        kernel: Release of the kernel.
        libc: Name and version of the C library.
        python: Version of the Python there.
        python_path: Path of the Python there.
        packages: Version of each runtime and of NumPy; None where it is missing.
        governor: Frequency governor.
        clock_mhz: Clock of the fastest core, MHz.
        clock_max_mhz: Largest clock, MHz.
        temperature_c: Temperature, degrees Celsius.
        throttled: Power and temperature flags of a Raspberry Pi's firmware.
        emulated: Whether the board is an emulator.
    """

    board: str | None = None
    machine: str
    bits: int
    cpu: str | None = None
    cpu_features: tuple[str, ...] = ()
    cores: int | None = None
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    disk_free_bytes: int
    os: str | None = None
    kernel: str = ""
    libc: str
    python: str
    python_path: str
    packages: Mapping[str, str | None]
    governor: str | None = None
    clock_mhz: float | None = None
    clock_max_mhz: float | None = None
    temperature_c: float | None = None
    throttled: tuple[str, ...] | None = None
    emulated: bool = False


@dataclass(frozen=True, kw_only=True)
class PhoneFacts:
    """Facts about a phone; None where it reports none.

    Attributes:
        model: Model of the phone.
        soc: System on chip.
        android: Release of Android.
        sdk: Its API level.
        abi: Its first ABI.
        battery_percent: Battery, %.
        charging: Whether the phone is plugged in.
        thermal_status: Android's thermal status, e.g. "none".
        pinned: Cores that measurements are pinned to.
        emulated: Whether the phone is an emulator.
    """

    model: str | None = None
    soc: str | None = None
    android: str | None = None
    sdk: str | None = None
    abi: str | None = None
    battery_percent: int | None = None
    charging: bool = False
    thermal_status: str | None = None
    pinned: str | None = None
    emulated: bool = False


@dataclass(frozen=True)
class RuntimeTrial:
    """Result of a small model on a runtime of a device.

    Attributes:
        works: Whether the runtime loads the model.
        says: Version and delegate, or why it does not load.
        partitions: Delegate partitions; None where the notion does not exist.
    """

    works: bool
    says: str
    partitions: int | None = None


@dataclass(frozen=True, kw_only=True)
class BoardCheck:
    """Fitness of a board for measurements.

    Attributes:
        installed: Packages that `setup_device` has installed, as pip takes them; None of a check.
        device: URI without options.
        facts: Facts about the board.
        runtimes: Results of its runtimes, by name.
        advice: Repairs, the most urgent first; empty if none is needed.
    """

    installed: tuple[str, ...] | None = field(default=None, metadata=ABSENT)
    device: str
    facts: BoardFacts = field(metadata=FLAT)
    runtimes: Mapping[str, RuntimeTrial]
    advice: tuple[str, ...]

    @property
    def measures(self) -> bool:
        """Whether a runtime there works."""
        return any(tried.works for tried in self.runtimes.values())

    def rows(self) -> tuple[tuple[str, str | None], ...]:
        """The check in lines of two cells: a name, and what there is to say."""
        facts = self.facts
        clock = None
        if facts.clock_mhz:
            clock = f"{facts.clock_mhz:.0f} of {facts.clock_max_mhz or 0:.0f} MHz"
        return (
            ("board", facts.board),
            ("emulated", "yes: its times are not a board's" if facts.emulated else "no"),
            ("CPU", f"{facts.cores} x {facts.cpu} ({facts.machine}, {facts.bits} bits)"),
            ("memory", f"{_gib(facts.memory_bytes)}, {_gib(facts.memory_available_bytes)} free"),
            ("disk", f"{_gib(facts.disk_free_bytes)} free"),
            ("system", f"{facts.os}, kernel {facts.kernel}, {facts.libc}"),
            ("Python", f"{facts.python} ({facts.python_path})"),
            ("packages", ", ".join(f"{name} {version}" for name, version in facts.packages.items() if version)),
            *((f"{name} works", tried.says) for name, tried in self.runtimes.items()),
            ("governor", facts.governor),
            ("clock", clock),
            ("temperature", None if facts.temperature_c is None else f"{facts.temperature_c:.1f} °C"),
            ("power", None if facts.throttled is None else ", ".join(facts.throttled) or "good"),
        )

    def _repr_html_(self) -> str:
        return _shown(self.device, self.rows(), self.advice)


@dataclass(frozen=True, kw_only=True)
class PhoneCheck:
    """Fitness of a phone for measurements.

    Attributes:
        device: URI without options.
        facts: Facts about the phone.
        measures_with: Path of benchmark_model, or "Python there"; None where nothing measures.
        runtimes: Results of the runtimes in its Python, by name; empty where benchmark_model measures.
        advice: Repairs, the most urgent first; empty if none is needed.
    """

    device: str
    facts: PhoneFacts = field(metadata=FLAT)
    measures_with: str | None
    runtimes: Mapping[str, RuntimeTrial]
    advice: tuple[str, ...]

    @property
    def measures(self) -> bool:
        """Whether benchmark_model, or a runtime in the Python there, works."""
        if self.measures_with is None:
            return False
        return not self.runtimes or any(tried.works for tried in self.runtimes.values())

    def rows(self) -> tuple[tuple[str, str | None], ...]:
        """The check in lines of two cells: a name, and what there is to say."""
        facts = self.facts
        battery = None
        if facts.battery_percent is not None:
            battery = f"{facts.battery_percent} %, {'charging' if facts.charging else 'not charging'}"
        return (
            ("model", facts.model),
            ("emulated", "yes: its times are not a phone's" if facts.emulated else "no"),
            ("SoC", facts.soc),
            ("Android", f"{facts.android} (SDK {facts.sdk}, {facts.abi})"),
            ("battery", battery),
            ("thermal status", facts.thermal_status),
            ("pinned with", facts.pinned),
            ("measures with", self.measures_with),
            *((f"{name} works", tried.says) for name, tried in self.runtimes.items()),
        )

    def _repr_html_(self) -> str:
        return _shown(self.device, self.rows(), self.advice)


@dataclass(frozen=True, kw_only=True)
class BrowserFacts:
    """Facts about a browser and its runtimes.

    Attributes:
        browser: Name and version.
        program: Path of the program.
        modules: Folder node_modules with the runtimes.
        packages: Version of each npm package of the runtimes; None where it is missing.
        cores: Logical cores that the browser tells of.
        simd: Whether wasm has 128-bit vectors there.
        relaxed_simd: Whether wasm has relaxed vectors there.
        int8_dot: Dot products of 8 bits that wasm has there, "signed" or "unsigned" by their second factor; None
            where it has none that keeps all bits, and XNNPACK multiplies int8 by 16 bits.
        cross_origin_isolated: Whether the page has memory that threads share.
    """

    browser: str
    program: str
    modules: str
    packages: Mapping[str, str | None]
    cores: int | None = None
    simd: bool
    relaxed_simd: bool
    int8_dot: str | None
    cross_origin_isolated: bool


@dataclass(frozen=True, kw_only=True)
class BrowserCheck:
    """Fitness of a browser for measurements.

    Attributes:
        device: URI without options.
        facts: Facts about the browser.
        runtimes: Results of its runtimes, by name.
        advice: Repairs, the most urgent first; empty if none is needed.
    """

    device: str
    facts: BrowserFacts = field(metadata=FLAT)
    runtimes: Mapping[str, RuntimeTrial]
    advice: tuple[str, ...]

    @property
    def measures(self) -> bool:
        """Whether a runtime there works."""
        return any(tried.works for tried in self.runtimes.values())

    def rows(self) -> tuple[tuple[str, str | None], ...]:
        """The check in lines of two cells: a name, and what there is to say."""
        facts = self.facts
        vectors = "relaxed SIMD" if facts.relaxed_simd else "SIMD" if facts.simd else "no SIMD"
        dot = f"{facts.int8_dot} int8 dot product" if facts.int8_dot else "no int8 dot product"
        shared = "threads share memory" if facts.cross_origin_isolated else "1 thread: no memory is shared"
        return (
            ("browser", f"{facts.browser} ({facts.program})"),
            ("wasm", f"{vectors}, {dot}, {shared}, {facts.cores} cores"),
            ("modules", facts.modules),
            ("packages", ", ".join(f"{name} {version}" for name, version in facts.packages.items() if version)),
            *((f"{name} works", tried.says) for name, tried in self.runtimes.items()),
        )

    def _repr_html_(self) -> str:
        return _shown(self.device, self.rows(), self.advice)


def _gib(count: int | None) -> str | None:
    return None if count is None else f"{count / 2**30:.1f} GiB"


def _shown(device: str, rows: tuple[tuple[str, str | None], ...], advice: tuple[str, ...]) -> str:
    return shown.table(device, ("", ""), rows) + "".join(shown.line(f"! {line}") for line in advice)
