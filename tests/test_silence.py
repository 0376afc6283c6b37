import gc
import logging
import subprocess
import sys

import pytest

from mnedge.silence import paused_collection


@pytest.mark.parametrize(("level", "heard"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_native_output_is_dropped_unless_verbose(level: int, heard: bool) -> None:
    code = (
        f"import logging, os; logging.basicConfig(level={level})\n"
        "from mnedge.silence import native_stderr\n"
        "with native_stderr():\n os.write(2, b'greeting')\n"
        "os.write(2, b'after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr.decode().endswith("after")
    assert ("greeting" in done.stderr.decode()) == heard


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "held"), [("import mnedge.cli", False), ("import mnedge", True)])
def test_a_command_does_not_pay_for_the_scikit_learn_of_keras(entry: str, held: bool) -> None:
    code = (
        f"import sys; {entry}\n"
        "from mnedge.silence import start_tensorflow\n"
        "start_tensorflow()\n"
        "print('sklearn' in sys.modules)\n"
        # It is hidden from that import alone: the demo data comes from it.
        "from sklearn.datasets import load_digits"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().split() == [str(held)]


def test_the_collector_is_paused_and_left_as_it_was() -> None:
    with paused_collection():
        assert not gc.isenabled()
        with paused_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
