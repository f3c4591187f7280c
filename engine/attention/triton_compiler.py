"""Whether Triton finds the C compiler that it needs, for the host's side of its kernels."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path


def compiler_problem(launch: Callable[[], object]) -> str | None:
    """Why a kernel cannot be launched for want of a compiler, in one line; None if that is not the reason.

    It tries: where everything is in Triton's cache, no compiler is needed.

    Args:
        launch: Launches a kernel, the first of this process.
    """
    try:
        launch()
    except RuntimeError as error:
        if "C compiler" not in str(error):
            raise
        return "there is no C compiler; install gcc, or set CC"
    except OSError as error:
        return f"the C compiler cannot be run ({error.strerror}: {error.filename}); install gcc, or correct CC"
    except subprocess.CalledProcessError as error:
        header = Path(sysconfig.get_paths()["include"]) / "Python.h"
        if not header.is_file():
            return f"Python's header files are missing ({header}); install them (python3-dev on Debian)"
        return f"the C compiler {error.cmd[0]} failed with exit code {error.returncode}; its output is above"
    return None
