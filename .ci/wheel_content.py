"""Build the wheel and check what is in it: everything under `tailwag/`, every package, the data files, nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = (
    "tailwag/configs/models.toml",
    "tailwag/configs/known_names.toml",
    "tailwag/configs/release.toml",
    "tailwag/configs/vocabulary.toml",
    "tailwag/configs/concepts/world.toml",
    "tailwag/retrieval/search_page.html",
    "tailwag/analysis/calibration/audit_page.html",
    "tailwag/analysis/report/fit_report.html",
    "tailwag/benchmarks/demo_report.html",
    "tailwag/benchmarks/world/model/open_clip_config.json",
    "tailwag/benchmarks/world/model/open_clip_model.safetensors",
    "tailwag/benchmarks/world/model/thresholds.csv",
)


def build() -> list[str]:
    """Build the wheel outside the checkout and list its files."""
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).with_name("uv"), "build", "--quiet", "--wheel", "--python", sys.executable]
        subprocess.run([*command, "--out-dir", folder, ROOT], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        return zipfile.ZipFile(wheel).namelist()


def faults(names: list[str]) -> list[str]:
    """Say what is missing from the wheel and what should not be there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = []
    for package in settings["packages"]:
        parts = package.split(".")
        folder = ROOT / (parts[0] if len(parts) == 1 else Path(*parts[1:]))
        expected = [f"{'/'.join(parts)}/{module.name}" for module in folder.glob("*.py")]
        found += [f"missing: {name}" for name in expected if name not in names]
    # A folder with modules that pyproject.toml does not name would be missing from every user's installation.
    for module in ROOT.glob("[a-z]*/**/*.py"):
        area = module.relative_to(ROOT).parts[0]
        inside = f"tailwag/{module.relative_to(ROOT)}"
        if area in ("configs", "embed", "retrieval", "analysis", "benchmarks") and inside not in names:
            found.append(f"missing: {inside}")
    found += [f"missing: {name}" for name in DATA if name not in names]
    found += [f"unexpected: {name}" for name in names if not name.startswith(("tailwag/", "tailwag-"))]
    return found


if __name__ == "__main__":
    contents = build()
    wrong = faults(contents)
    print("\n".join(wrong) if wrong else f"the wheel is whole: {len(contents)} files")
    sys.exit(bool(wrong))
