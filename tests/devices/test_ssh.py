"""A real ssh and a real sshd, the real aarch64 wheels under qemu-user, and faults that really happen."""

from __future__ import annotations

import os
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import devices
from mnedge.devices import _remote, _setup, ssh
from mnedge.devices._link import Link
from mnedge.devices._remote import RemoteModel
from mnedge.errors import InputError, ToolError
from mnedge.pixels import SYMMETRIC
from mnedge.runtimes._runtime import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.devices.conftest import Pi

pytestmark = [pytest.mark.device, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _own_cache(private_cache: Path) -> None:
    del private_cache


@pytest.fixture
def tidy(pi: Pi) -> Iterator[tuple[str, Path]]:
    """A temporary folder there, empty and without agents at the end."""
    inside, outside = pi.tmp()
    yield inside, outside
    deadline = time.monotonic() + 60
    while pi.agents() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pi.agents() == []
    assert list(outside.iterdir()) == []
    outside.rmdir()


def outputs_on(uri: str, path: Path, pictures: list[NDArray[np.uint8]], runtime: str = "") -> NDArray[Any]:
    with devices.get(uri).load(path, runtime) as model:
        return np.stack(
            [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        )


def test_outputs_equal_the_hosts_bit_for_bit(
    pi: Pi, tidy: tuple[str, Path], int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with devices.get(pi.uri(tmp=tidy[0])).load(int8_tflite, "") as model:
        there = np.stack(
            [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        )
        assert model.info.emulated
        assert model.info.partitions == 1
        assert model.info.version.endswith("(XNNPACK)")
    assert np.array_equal(there, outputs_on("local", int8_tflite, pictures))


def test_cores_with_dot_products_agree_too(
    pi: Pi, tmp_path: Path, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with pi.as_board("pi5", tmp_path) as newer:
        assert ssh.connect(newer.uri()).facts().cpu == "Cortex-A76"
        assert np.array_equal(
            outputs_on(newer.uri(), int8_tflite, pictures), outputs_on("local", int8_tflite, pictures)
        )


@pytest.mark.shared
def test_outputs_on_photos_equal_the_hosts(pi: Pi, shared_data: Path) -> None:
    from mnedge.data import open_dataset
    from mnedge.validation.predict import predict

    path = shared_data / "models/mlperf_tiny/vww_96_int8.tflite"
    dataset = open_dataset(str(shared_data / "imagenet/labels.csv"))
    numbers = dataset.split("eval", 24)
    here, there = (predict(path, dataset, numbers, device=devices.get(uri)) for uri in ("local", pi.uri()))
    assert np.array_equal(here.outputs, there.outputs)
    assert len(np.unique(here.outputs, axis=0)) > 1


def test_cut_connection_goes_on_where_it_ended(
    pi: Pi, tidy: tuple[str, Path], int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    found = []
    with devices.get(pi.uri(tmp=tidy[0])).load(int8_tflite, "") as model:
        for number, outputs in enumerate(model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))):
            found.append(outputs[0])
            if number == 150:
                pi.cut()
    assert np.array_equal(found, outputs_on("local", int8_tflite, pictures))


def test_board_that_does_not_come_back_keeps_results(
    pi: Pi,
    tidy: tuple[str, Path],
    int8_tflite: Path,
    pictures: list[NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_remote, "_RECONNECT_WAITS_S", (0.2, 0.2))
    device = devices.get(pi.uri(tmp=tidy[0]))

    def run_until_cut() -> None:
        with device.load(int8_tflite, "") as model:
            for number, _ in enumerate(model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))):
                if number == 150:
                    pi.cut()
                    pi.stop()

    with pytest.raises(ToolError, match=r"did not come back(.|\n)*refused(.|\n)*of 400 pictures are done and kept"):
        run_until_cut()
    pi.start()
    sent, send = [], Link.send

    def count(link: Link, kind: bytes, number: int = 0, payload: bytes = b"") -> None:
        if kind == b"C":
            sent.append(number)
        send(link, kind, number, payload)

    monkeypatch.setattr(Link, "send", count)
    with device.load(int8_tflite, "") as model:
        found = [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
    # 400 pictures are 13 chunks of 32, and the first five were known.
    assert sorted(sent) == list(range(sent[0], 13))
    assert sent[0] >= 5
    assert np.array_equal(found, outputs_on("local", int8_tflite, pictures))


def test_board_that_hangs_is_given_up(
    pi: Pi, tidy: tuple[str, Path], int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    def run_until_stopped() -> None:
        with devices.get(pi.uri(tmp=tidy[0])).load(int8_tflite, "") as model:
            for _ in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures)):
                assert isinstance(model, RemoteModel)
                model._conversation.link.silence_s = 4.0  # only now: a busy machine starts Python slowly
                for process in pi.agents():
                    process.suspend()

    with pytest.raises(ToolError, match="no sign of life for 4 s"):
        run_until_stopped()


def test_full_disk_is_named(pi: Pi, tmp_path: Path) -> None:
    inside, outside = pi.tmp()
    path = tmp_path / "large.tflite"
    path.write_bytes(os.urandom(200_000))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", outside], check=True)
    try:
        with (
            pytest.raises(ToolError, match=r"disk full.*tmp=DIR"),
            devices.get(pi.uri(tmp=inside)).load(path, ""),
        ):
            pass
        assert list(outside.iterdir()) == []
    finally:
        subprocess.run(["umount", outside], check=True)
        outside.rmdir()


def test_folder_that_is_not_there_is_named(pi: Pi, int8_tflite: Path) -> None:
    with (
        pytest.raises(ToolError, match=r"/nowhere: No such file or directory; .*tmp=DIR"),
        devices.get(pi.uri(tmp="/nowhere")).load(int8_tflite, ""),
    ):
        pass


@pytest.mark.parametrize("wrong", ["/no/python", "/bin/true", "/etc/passwd"])
def test_wrong_python_is_named(pi: Pi, int8_tflite: Path, wrong: str) -> None:
    with (
        pytest.raises(ToolError, match=f"ssh://pi: python={wrong} is no Python there; name the path of one"),
        devices.get(pi.uri(python=wrong)).load(int8_tflite, ""),
    ):
        pass


def test_missing_runtime_is_named(pi: Pi, tidy: tuple[str, Path], int8_tflite: Path) -> None:
    uri = pi.uri(python="/usr/bin/python3", tmp=tidy[0])
    with pytest.raises(ToolError, match=r"not installed.*device setup"), devices.get(uri).load(int8_tflite, ""):
        pass


def test_refused_model_is_named(pi: Pi, tidy: tuple[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(200))
    with pytest.raises(ToolError, match="refuses the model"), devices.get(pi.uri(tmp=tidy[0])).load(path, ""):
        pass


def test_lost_delegate_is_no_figure(pi: Pi, tidy: tuple[str, Path], int8_tflite: Path) -> None:
    cpus = pi.root / "sys/devices/system/cpu"
    hidden = cpus.rename(cpus.with_name("hidden"))
    try:
        with (
            pytest.raises(ToolError, match=r"delegate does not apply.*delegate=optional"),
            devices.get(pi.uri(tmp=tidy[0])).load(int8_tflite, ""),
        ):
            pass
        with devices.get(pi.uri(tmp=tidy[0], delegate="optional")).load(int8_tflite, "") as model:
            assert model.info.partitions == 0
            assert model.info.version.endswith("(no delegate)")
    finally:
        hidden.rename(cpus)


@pytest.fixture(scope="module")
def older(pi: Pi) -> str:
    """Python with packages of years ago; their wheels are real ones."""
    device = ssh.connect(pi.uri())
    if not (pi.root / "root/older").is_dir():
        packages = ("onnxruntime==1.21.0", "tflite-runtime==2.14.0", "numpy<2")
        _setup.setup(device, device.facts(), "/root/older", packages, wheels=True, progress=lambda _: None)
    return "/root/older/bin/python"


def test_wheel_for_another_cpu_is_named(pi: Pi, older: str, tidy: tuple[str, Path], tmp_path: Path) -> None:
    # onnxruntime 1.21.0 dies on the Raspberry Pi 4's Cortex-A72: github.com/microsoft/onnxruntime/issues/24112
    path = tmp_path / "any.onnx"
    path.write_bytes(b"")
    uri = pi.uri(tmp=tidy[0], python=older)
    with pytest.raises(ToolError, match=r"SIGILL.*onnxruntime 1\.21\.0.*another CPU"), devices.get(uri).load(path, ""):
        pass


def test_older_runtime_is_named_in_the_figure(
    pi: Pi, older: str, tidy: tuple[str, Path], int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with devices.get(pi.uri(tmp=tidy[0], python=older)).load(int8_tflite, "") as model:
        there = np.stack([outputs[0] for outputs in model.run(encoded(pictures[:64], model.info.input, SYMMETRIC), 64)])
        assert model.info.version == "tflite-runtime 2.14.0 (no delegate)"
    # Other kernels round another way; the classes stay.
    here = outputs_on("local", int8_tflite, pictures[:64])
    assert np.mean(here.argmax(axis=-1) == there.argmax(axis=-1)) > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("HostName host.invalid", "host not found"),
        ("Port 1", r"connection refused; start the ssh server"),
        (
            "IdentityFile {folder}/other",
            "the board refuses the key; copy yours with `ssh-copy-id -F {folder}/ssh_config pi`",
        ),
        ("UserKnownHostsFile {folder}/changed", "remove the old key with `ssh-keygen -f [^`]*changed[^`]* -R [^`]*127"),
        (
            "UserKnownHostsFile {folder}/none\nStrictHostKeyChecking yes",
            "host key is not known; log in once by hand: `ssh -F {folder}/ssh_config pi`",
        ),
    ],
)
def test_failed_connection_is_one_message(pi: Pi, tmp_path: Path, int8_tflite: Path, change: str, message: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    key = (tmp_path / "other.pub").read_text().rsplit(" ", 1)[0]
    (tmp_path / "changed").write_text(f"[127.0.0.1]:{pi.port} {key}\n")
    config = (pi.folder / "ssh_config").read_text()
    lines = change.format(folder=tmp_path).split("\n")
    kept = [line for line in config.splitlines() if line.split()[0] not in {new.split()[0] for new in lines}]
    (tmp_path / "ssh_config").write_text("\n".join([*kept, *lines]) + "\n")
    uri = f"ssh://pi?ssh_config={tmp_path / 'ssh_config'}"
    due = message.format(folder=tmp_path)
    with pytest.raises(ToolError, match=due), devices.get(uri).load(int8_tflite, ""):
        pass


def test_remedies_can_be_pasted() -> None:
    for uri, command in (
        ("ssh://pi@board:2222?tmp=/x&python=/y", "ssh -p 2222 pi@board"),
        ("ssh://board?ssh_config=/a%20b/config", "ssh -F '/a b/config' board"),
        ("ssh://pi@[fe80::1%25eth0]:22", "ssh -p 22 pi@fe80::1%25eth0"),
    ):
        device = devices.get(uri)
        assert isinstance(device, ssh.SshDevice)
        assert device._by_hand("ssh") == command
        assert shlex.split(device.remedy) == ["mnedge", "device", "setup", uri]
    assert ssh.ByHand.of(["-p", "2222", "--", "board"], None).forget("") == "ssh-keygen -R '[board]:2222'"


def test_no_name_can_inject_a_command(pi: Pi, int8_tflite: Path) -> None:
    inside, outside = pi.tmp("it's; touch $(echo pwned) `id`")
    with devices.get(pi.uri(tmp=inside)).load(int8_tflite, ""):
        assert len(list(outside.iterdir())) == 1
    assert list(outside.iterdir()) == []
    outside.rmdir()
    assert not list(pi.root.glob("**/pwned"))
    for uri in ("ssh://-oProxyCommand=touch", "ssh://pi@-oProxyCommand", "ssh://pi;id", "ssh://pi host", "ssh://"):
        with pytest.raises(InputError):
            devices.get(uri)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files whose name leaves room for a socket's, which pytest's own do not always."""
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as folder:
        yield Path(folder)


def test_a_long_folder_of_temporary_files_does_not_matter(
    pi: Pi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    device = ssh.connect(pi.uri())
    assert device.run("true").returncode == 0
    device.reset()


def test_interrupt_leaves_nothing(pi: Pi, tidy: tuple[str, Path], int8_tflite: Path, short: Path) -> None:
    script = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom mnedge import devices\n"
        "from mnedge.pixels import SYMMETRIC\nfrom mnedge.runtimes._runtime import encoded\n"
        "pictures = (np.full((32, 32, 3), i % 256, np.uint8) for i in range(10**6))\n"
        "with devices.get(sys.argv[1]).load(Path(sys.argv[2]), '') as model:\n"
        "    for _ in model.run(encoded(pictures, model.info.input, SYMMETRIC), 10**6): print('one', flush=True)\n"
    )
    args: list[str | Path] = [sys.executable, "-c", script, pi.uri(tmp=tidy[0]), int8_tflite]
    environment = {**os.environ, "TMPDIR": str(short)}
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(2)
        process.stdout.read()
        assert process.wait(timeout=90) != 0
    assert list(short.glob("mnedge-ssh-*")) == []


def test_next_connection_removes_what_a_killed_program_left_here(
    pi: Pi, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys, time\nfrom mnedge.devices import ssh\n"
        "device = ssh.connect(sys.argv[1]); device.run('true'); print('in', flush=True); time.sleep(60)\n"
    )
    args: list[str | Path] = [sys.executable, "-c", script, pi.uri()]
    with subprocess.Popen(args, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(short)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        process.kill()
    (left,) = short.glob("mnedge-ssh-*")
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    device = ssh.connect(pi.uri())
    assert device.run("true").returncode == 0
    assert not left.exists()
    device.reset()
    assert list(short.glob("mnedge-ssh-*")) == []


def test_killed_program_leaves_nothing_there(pi: Pi, tidy: tuple[str, Path], int8_tflite: Path) -> None:
    del tidy
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom mnedge import devices\n"
        "with devices.get(sys.argv[1]).load(Path(sys.argv[2]), '') as model:\n"
        "    print('in', flush=True); time.sleep(60)\n"
    )
    inside, outside = pi.tmp()
    args: list[str | Path] = [sys.executable, "-c", script, pi.uri(tmp=inside), int8_tflite]
    with subprocess.Popen(args, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert len(list(outside.iterdir())) == 1
        process.kill()
    deadline = time.monotonic() + 60
    while list(outside.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    outside.rmdir()


def test_latency_is_marked_as_emulated(pi: Pi, tidy: tuple[str, Path], int8_tflite: Path) -> None:
    device = ssh.connect(pi.uri(tmp=tidy[0]))
    timing = device.latency(int8_tflite, threads=2, warmup_s=0.1, runs=20)
    assert timing.info.emulated
    assert len(timing.samples) >= 20
    assert {sample.clock_mhz for sample in timing.samples} == {1800.0}
    assert timing.samples[0].temperature_c == pytest.approx(48.312)
    assert timing.unstable == ()
    assert timing.notes["cpu"] == "Cortex-A72"


def test_onnx_runs_on_the_board(
    pi: Pi, tidy: tuple[str, Path], int8_onnx: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with devices.get(pi.uri(tmp=tidy[0])).load(int8_onnx, "") as model:
        there = np.stack([outputs[0] for outputs in model.run(encoded(pictures[:64], model.info.input, SYMMETRIC), 64)])
        assert model.info.version == f"onnxruntime {ssh.connect(pi.uri()).facts().packages['onnxruntime']}"
        assert model.info.partitions is None
    here = outputs_on("local", int8_onnx, pictures[:64])
    # Arm's kernels for uint8 activations round another way than x86's: by a few steps of 0.02.
    assert np.abs(there - here).max() < 0.1
    assert np.mean(here.argmax(axis=-1) == there.argmax(axis=-1)) > 0.9
    timing = ssh.connect(pi.uri(tmp=tidy[0])).latency(int8_onnx, warmup_s=0.0, runs=5)
    assert len(timing.samples) >= 5
    # ONNX Runtime 1.29 and later keep a queue of reports to its maker in the home folder unless they are told not to.
    assert not (pi.root / "root/.cache").exists()


@pytest.fixture
def index(pi: Pi) -> Iterator[None]:
    """The board's pip knows the index that this machine's pip uses, as its owner would have told it."""

    def configured(option: str) -> str:
        command = [sys.executable, "-m", "pip", "config", "get", f"global.{option}"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

    config = pi.root / "root/.config/pip/pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = ["[global]", "timeout = 20", "retries = 1"]
    if configured("index-url"):
        lines.append(f"index-url = {configured('index-url')}")
    config.write_text("\n".join(lines) + "\n")
    # Debian's pip trusts what the package ca-certificates, which boards have, puts here.
    bundle = pi.root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(configured("cert") or ssl.get_default_verify_paths().cafile or "", bundle)
    yield
    shutil.rmtree(config.parent)
    bundle.unlink()


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("packages", [("flatbuffers",), pytest.param((), marks=pytest.mark.soak)], ids=["one", "all"])
def test_setup_from_the_boards_own_index(pi: Pi, int8_tflite: Path, packages: tuple[str, ...]) -> None:
    inside, outside = pi.tmp()
    told: list[str] = []
    device = ssh.connect(pi.uri())
    try:
        installed = _setup.setup(device, device.facts(), f"{inside}/env", packages, wheels=False, progress=told.append)
        assert told == ["making the environment", f"installing on the board: {' '.join(installed)}"]
        assert [path.name for path in outside.iterdir()] == ["env"]
        assert list(outside.glob("env/lib/python3*/site-packages/flatbuffers/__init__.py"))
        if not packages:
            with devices.get(pi.uri(python=f"{inside}/env/bin/python")).load(int8_tflite, "") as model:
                assert model.info.version.startswith("ai-edge-litert")
                assert model.info.partitions == 1
    except ToolError as exc:
        if "no connection to the package index" not in str(exc):
            raise
        pytest.skip(str(exc))
    finally:
        shutil.rmtree(outside)


def test_setup_without_a_wheel_keeps_the_old_environment(pi: Pi) -> None:
    device = ssh.connect(pi.uri())
    with pytest.raises(ToolError, match=r"no wheel of ai-edge-litert==0\.0\.1.*--package"):
        _setup.setup(
            device,
            device.facts(),
            f'"{ssh.ENVIRONMENT}"',
            ("ai-edge-litert==0.0.1",),
            wheels=True,
            progress=lambda _: None,
        )
    assert device.facts().packages["ai-edge-litert"] is not None
    assert not (pi.root / "root/.local/share/mnedge/env.new").exists()


def test_setup_on_a_full_disk_is_named(pi: Pi) -> None:
    inside, outside = pi.tmp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", outside], check=True)
    try:
        device = ssh.connect(pi.uri())
        with pytest.raises(ToolError, match="disk full during setup"):
            _setup.setup(
                device, device.facts(), f"{inside}/env", ("flatbuffers",), wheels=True, progress=lambda _: None
            )
        assert list(outside.iterdir()) == []
    finally:
        subprocess.run(["umount", outside], check=True)
        outside.rmdir()
