"""An environment of its own for a script, with packages from PyPI."""

import os
import subprocess
import sys


def enter_environment(folder, requirements):
    """Restarts the script in the interpreter of `folder`, which is made with these packages if necessary."""
    python, ready = folder / "bin/python", folder / "ready"
    wanted = "\n".join(requirements)
    if not ready.exists() or ready.read_text() != wanted:
        print(f"making {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.write_text(wanted)
    if sys.prefix != str(folder):
        os.execv(python, [str(python), *sys.argv])
