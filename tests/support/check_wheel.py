"""`python check_wheel.py WHEEL`: the wheel holds the package and nothing else, and works without torch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path


def main() -> None:
    """Exit with an error if anything is wrong."""
    wheel = Path(sys.argv[1])
    names = zipfile.ZipFile(wheel).namelist()
    strangers = [name for name in names if not name.startswith(("abatch/", "abatch-"))]
    unwanted = [name for name in names if name.startswith(("abatch/tests", "abatch/docs", "abatch/build"))]
    assert not strangers + unwanted, f"not ours to install: {strangers + unwanted}"
    wanted = ("cli/main.py", "engine/server/app.py", "engine/native/kernels.cpp", "py.typed")
    assert {f"abatch/{name}" for name in wanted} <= set(names)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
        abatch = Path(folder) / "bin" / "abatch"
        subprocess.run([abatch, "--version"], check=True, cwd=folder)
        subprocess.run([abatch, "bench", "--help"], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        simulated = [str(abatch), "bench", "--device", "simulated:h100", "--duration", "10", "--output", "run"]
        output = subprocess.run(simulated, check=True, cwd=folder, capture_output=True, text=True).stdout
        assert output.startswith("SIMULATED"), output
        serve = subprocess.run([abatch, "serve"], check=False, cwd=folder, capture_output=True, text=True)
        assert serve.returncode == 2, serve
        assert "pip install 'abatch[engine]'" in serve.stderr, serve.stderr


if __name__ == "__main__":
    main()
