import logging
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("level", "heard"), [(logging.WARNING, False), (logging.INFO, True)])
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
