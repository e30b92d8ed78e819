# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel for pip (PEP 517): CMake compiles the module with the static engine, and this zips it.

Of our own, since Debian 12 has no scikit-build-core, and setuptools would be fetched by pip: it builds where it cannot see
the system's packages. Tested in: python/tests/wheel_test.sh.
"""
import base64
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent


def _version():
    text = (SOURCE / "deploy" / "include" / "bisparse" / "version.h").read_text()
    return ".".join(re.search(rf"VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def _metadata():
    return (f"Metadata-Version: 2.1\nName: bisparse\nVersion: {_version()}\n"
            "Summary: Networks sparse in weights and activations, run on CPUs\n"
            "License: Apache-2.0\nRequires-Python: >=3.9\nRequires-Dist: numpy\n")


def _build(folder):
    """CMake's flags can be added by the environment, e.g. CMAKE_ARGS="-D CMAKE_CXX_COMPILER=clang++"."""
    arguments = ["cmake", "-S", SOURCE, "-B", folder, "-D", "CMAKE_BUILD_TYPE=Release", "-D", "BISPARSE_PYTHON=ON",
                 "-D", "BISPARSE_ENGINE_ONLY=ON", "-D", "BISPARSE_TESTS=OFF", "-D", "BISPARSE_INSTALL=OFF",
                 "-D", "BUILD_SHARED_LIBS=OFF", "-D", f"Python_EXECUTABLE={sys.executable}"]
    subprocess.check_call(arguments + os.environ.get("CMAKE_ARGS", "").split())
    subprocess.check_call(["cmake", "--build", folder, "--target", "bisparse_python", "--parallel",
                           str(os.cpu_count() or 1)])
    return pathlib.Path(folder) / "python" / "bisparse"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    tag = f"{python}-{python}-{platform}"
    name = f"bisparse-{_version()}-{tag}.whl"
    info = f"bisparse-{_version()}.dist-info"
    with tempfile.TemporaryDirectory() as folder:
        package = _build(folder)
        files = {f"bisparse/{path.name}": path.read_bytes() for path in sorted(package.iterdir()) if path.is_file()}
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = (f"Wheel-Version: 1.0\nGenerator: bisparse\nRoot-Is-Purelib: false\nTag: {tag}\n").encode()
    files[f"{info}/LICENSE"] = (SOURCE / "LICENSE").read_bytes()
    record = ""
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("bisparse is installed from its source tree: pip install .")
