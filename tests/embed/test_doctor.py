"""Each check of an installation finds the fault that was planted for it, and finds none where there is none."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tailwag.embed import doctor
from tailwag.embed.database import Database


def distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    """Install a package that consists of what it asks for."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def test_this_installation_is_sound():
    checks = list(doctor.check_installation())
    assert [check.name for check in checks] == ["versions", "models", "faiss", "gpu"]
    assert all(check.passed for check in checks), [check.line() for check in checks]
    assert all("\n" not in check.line() and check.line().startswith("✓ ") for check in checks)


def test_old_and_missing_packages_are_named(site):
    distribution(site, "pretended", "1.0", "numpy>=99", "no-such-package>=2", "torch>=2", "other; extra == 'more'")
    found = doctor.check_versions("pretended")
    assert found.passed is False
    assert "numpy is 2." in found.said
    assert "(asked for: numpy>=99)" in found.said
    assert "no-such-package is not installed (asked for: no-such-package>=2)" in found.said
    assert "torch" not in found.said
    assert "other" not in found.said


def test_two_faiss_packages_are_one_too_many(site):
    for name in ("faiss-cpu", "faiss-gpu"):
        distribution(site, name, "9.9")
    found = doctor.check_faiss()
    assert found.passed is False
    assert "faiss-cpu and faiss-gpu are both installed and overwrite each other" in found.said


def test_a_faiss_that_does_not_import_is_told(site, monkeypatch):
    monkeypatch.delitem(importlib.import_module("sys").modules, "faiss", raising=False)
    (site / "faiss.py").write_text("raise ImportError('libcublas.so.12: cannot open shared object file')")
    found = doctor.check_faiss()
    assert found.passed is False
    assert "does not work: libcublas.so.12: cannot open shared object file; install it again" in found.said


def test_a_driver_without_a_torch_that_sees_the_gpu_is_told(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert doctor.check_gpu(tmp_path / "none").passed
    (tmp_path / "version").write_text("NVRM version")
    found = doctor.check_gpu(tmp_path / "version")
    assert found.passed is False
    assert "sees no GPU" in found.said


def test_a_database_can_be_written_to_or_not(tmp_path):
    fine, disk = doctor.check_database(Database(tmp_path / "new" / "db"))
    assert fine.passed
    assert fine.said.endswith("(not there yet: it will be made)")
    assert not (tmp_path / "new").exists()
    assert disk.numbers["free_bytes"] > 0
    (wrong,) = doctor.check_database(Database("/proc/db"))
    assert wrong.passed is False
    assert "/proc cannot be written to" in wrong.said


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1 << 62)
    _, disk = doctor.check_database(Database(tmp_path))
    assert disk.passed is False
    assert "make room, or pass another --db" in disk.said
