"""`tailwag embed` beside `clip-retrieval inference` 2.45: whole commands on the same shards, model, batch and cores.

Called by `embed.py --peer VENV`, where VENV is a virtual environment with clip-retrieval, made if it is not there. Two
models: ViT-B-32 with random weights, which both load by name and file; and the shared small model, which needs help to
load in clip-retrieval. That help, and what else is changed there, stands in `prepare` and `_SITECUSTOMIZE`.

clip-retrieval tries each number of preprocessing workers once and goes on with the quickest, the fewest among equals.
Then both run in turn. Memory is that of a command's whole process tree (`whole_command.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import peers
import photograph_shards
from whole_command import Watched, watch

PEER = "clip-retrieval==2.45.0"
# The same torch for both. One of its requirements imports pkg_resources, which setuptools has given up.
PINNED = ("torch==2.13.0", "torchvision==0.28.0", "setuptools<70")
_AS_QUICK = 1.05
WAYS = ("tailwag embed", "clip-retrieval inference")

# In clip-retrieval's environment, and only there:
# - torchvision's import beside a CPU build of torch is mended as tailwag does (`open_clip_loading.py`);
# - open_clip's model is put into evaluation mode if asked for: clip-retrieval leaves it in training mode, in which
#   batch normalisation makes a picture's vector depend on its batch.
_SITECUSTOMIZE = """
import importlib.machinery
import os
import sys


class _BeforeImport:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and not hasattr(self, "library"):
            import torch

            if not torch.version.cuda:
                self.library = torch.library.Library("torchvision", "FRAGMENT")
                for operator in ("nms", "qnms"):
                    self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        if name == "all_clip.open_clip" and os.environ.get("PEER_EVALUATION_MODE"):
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            execute = spec.loader.exec_module

            def execute_and_mend(module):
                execute(module)
                load = module.load_open_clip

                def load_for_evaluation(*arguments):
                    model, *rest = load(*arguments)
                    return model.eval(), *rest

                module.load_open_clip = load_for_evaluation

            spec.loader.exec_module = execute_and_mend
            return spec
        return None


sys.meta_path.insert(0, _BeforeImport())
"""


def prepare(venv: Path) -> dict[str, str]:
    """Make clip-retrieval's environment where it is not there; give the versions in it."""
    python = venv / "bin" / "python"
    if not (venv / "bin" / "clip-retrieval").exists():
        uv = [str(Path(sys.executable).with_name("uv"))]
        # As the Makefile does: uv does not read pip's configuration.
        environment = {**os.environ, "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
        install = [*uv, "pip", "install", "--compile-bytecode", "--python", str(python), PEER, *PINNED]
        subprocess.run(install, check=True, env=environment)
    ask = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    packages = [
        "clip-retrieval",
        "all_clip",
        "torch",
        "torchvision",
        "open_clip_torch",
        "webdataset",
        "numpy",
        "pillow",
    ]
    asked = subprocess.run([str(python), "-c", ask, *packages], check=True, capture_output=True, text=True)
    return json.loads(asked.stdout)


def random_weights(path: Path) -> Path:
    """Write weights of ViT-B-32 as open_clip starts training with them."""
    import torch

    from tailwag.embed.open_clip_loading import import_open_clip

    torch.manual_seed(0)
    torch.save(import_open_clip().create_model("ViT-B-32").state_dict(), path)
    return path


def models(folder: Path, venv: Path) -> dict[str, dict[str, list[str]]]:
    """Prepare both models, and give the options by which each command finds them."""
    weights = random_weights(folder / "vit-b-32.pt")
    # clip-retrieval knows no folders: the small model's configuration is put among open_clip's own there, and its
    # weights are named by file. It then takes open_clip's usual mean and deviation of pixels, so tailwag is given a
    # folder that says the same.
    small = folder / "mini"
    small.mkdir()
    config = json.loads((photograph_shards.MODEL / "open_clip_config.json").read_text("utf-8"))
    configs = next(venv.glob("lib/python*/site-packages/open_clip/model_configs"))
    (configs / "mini.json").write_text(json.dumps(config["model_cfg"]), "utf-8")
    (small / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": {}}), "utf-8")
    file = small / "open_clip_model.safetensors"
    shutil.copyfile(photograph_shards.MODEL / file.name, file)
    return {
        "ViT-B-32": {
            WAYS[0]: ["--model", "ViT-B-32", "--pretrained", str(weights)],
            WAYS[1]: ["--clip_model", f"open_clip:ViT-B-32/{weights}"],
        },
        "mini": {
            WAYS[0]: ["--model", f"local-dir:{small}"],
            WAYS[1]: ["--clip_model", f"open_clip:mini/{file}"],
        },
    }


class Commands:
    """Both commands on the same shards, each run into a new folder.

    Parameters
    ----------
    folder
        Where they write, and where clip-retrieval's sitecustomize goes.
    venv
        clip-retrieval's environment.
    pattern
        The shards.
    batch_size
        Pictures a forward pass.
    """

    def __init__(self, folder: Path, venv: Path, pattern: str, batch_size: int) -> None:
        self._folder = folder
        self._venv = venv
        self._pattern = pattern
        self._batch_size = str(batch_size)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_SITECUSTOMIZE, "utf-8")

    def tailwag(self, model: Sequence[str], name: str) -> Watched:
        """Run `tailwag embed`; its database is the folder `name`."""
        program = str(Path(sys.executable).with_name("tailwag"))
        command = [program, "embed", self._pattern, "--corpus", "photographs", "--db", str(self._folder / name)]
        command += [*model, "--device", "cpu", "--batch-size", self._batch_size]
        return watch(command, "device   ")

    def clip_retrieval(self, model: Sequence[str], name: str, workers: int, evaluation: bool = True) -> Watched:
        """Run `clip-retrieval inference`; its output is the folder `name`."""
        command = [str(self._venv / "bin" / "clip-retrieval"), "inference", "--input_dataset", self._pattern]
        command += ["--output_folder", str(self._folder / name), "--input_format", "webdataset", *model]
        command += ["--batch_size", self._batch_size, "--num_prepro_workers", str(workers)]
        environment = {"PYTHONPATH": str(self._folder / "site"), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
        if evaluation:
            environment["PEER_EVALUATION_MODE"] = "1"
        return watch(command, "done warming up", environment)

    def cosines(self, database: str, output: str) -> dict[str, Any]:
        """Compare the vectors of both, by key."""
        import lance
        import pyarrow.parquet as pq

        table = lance.dataset(str(self._folder / database / "photographs.lance")).to_table(["key", "image", "text"])
        ours = {key.rpartition("/")[2]: place for place, key in enumerate(table["key"].to_pylist())}
        theirs = pq.read_table(self._folder / output / "metadata" / "metadata_0.parquet")["image_path"].to_pylist()
        order = np.array([ours[key] for key in theirs])
        told: dict[str, Any] = {"rows": {WAYS[0]: len(ours), WAYS[1]: len(theirs)}}
        for side, folder in (("image", "img_emb"), ("text", "text_emb")):
            left = np.stack(table[side].to_numpy())[order].astype(np.float64)
            right = np.load(self._folder / output / folder / f"{folder}_0.npy").astype(np.float64)
            cosine = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
            told[side] = {"least": round(float(cosine.min()), 6), "median": round(float(np.median(cosine)), 6)}
        return told

    def clear(self, name: str) -> None:
        """Delete what a run wrote."""
        shutil.rmtree(self._folder / name)


def measure_peer(
    venv: Path,
    which: Sequence[str],
    tried: Sequence[int],
    shards: int,
    most: int | None,
    rounds: int,
    batch_size: int,
    known: dict[str, Any],
) -> dict[str, Any]:
    """Measure both commands with some of the models; `known` are earlier results, which stay."""
    versions = prepare(venv)
    results: dict[str, Any] = dict(known)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = photograph_shards.pack(folder / "shards", shards, most)
        commands = Commands(folder, venv, photograph_shards.pattern(folder / "shards", shards), batch_size)
        for model, options in models(folder, venv).items():
            if model in which:
                measured_on = peers.machine()
                results[f"{model}, batches of {batch_size}"] = {
                    "photographs": photographs,
                    "shards": shards,
                    "rounds": rounds,
                    "machine": measured_on,
                    "peer_versions": versions,
                    **_measure_model(commands, model, options, tried, photographs, rounds),
                    "load_at_the_end": round(os.getloadavg()[0], 2),
                }
    headings = ["model", "command", "images/s", "once the model is loaded", "core seconds, 1,000 images"]
    headings += ["peak memory", "the same, shared pages once"]
    rows = [row for model, told in results.items() for row in _rows(model, told)]
    return {"models": results, "table": {"headings": headings, "rows": rows}}


def _measure_model(
    commands: Commands,
    model: str,
    options: dict[str, list[str]],
    workers_tried: Sequence[int],
    photographs: int,
    rounds: int,
) -> dict[str, Any]:
    found: dict[str, list[Watched]] = {way: [] for way in WAYS}
    tried: dict[int, Watched] = {}

    def tailwag(name: str) -> Watched:
        return _told(model, WAYS[0], commands.tailwag(options[WAYS[0]], name), photographs)

    def clip_retrieval(name: str, workers: int, evaluation: bool = True) -> Watched:
        way = f"{WAYS[1]}, workers: {workers}"
        return _told(model, way, commands.clip_retrieval(options[WAYS[1]], name, workers, evaluation), photographs)

    tailwag("ours")  # warms up what is read from the disk
    for workers in workers_tried:
        tried[workers] = clip_retrieval(f"theirs-{workers}", workers)
    # The fewest of those that are as quick within what repeats differ by: each worker costs memory.
    quickest = min(each.seconds for each in tried.values())
    best = min(workers for workers, each in tried.items() if each.seconds <= _AS_QUICK * quickest)
    agreement = commands.cosines("ours", f"theirs-{best}")
    as_it_comes = agreement
    if model == "mini":  # the other has no batch normalisation
        clip_retrieval("training", best, evaluation=False)
        as_it_comes = commands.cosines("ours", "training")
        commands.clear("training")
    for _ in range(rounds):
        for way, run in ((WAYS[0], tailwag), (WAYS[1], lambda name: clip_retrieval(name, best))):
            found[way].append(run("run"))
            commands.clear("run")
    for name in ("ours", *(f"theirs-{workers}" for workers in workers_tried)):
        commands.clear(name)
    return {
        "workers_tried": {workers: _medians([each], photographs) for workers, each in tried.items()},
        "workers": best,
        "cosines": agreement,
        "cosines_in_training_mode": as_it_comes,
        "medians": {way: _medians(each, photographs) for way, each in found.items()},
        "runs": {
            way: [{key: value for key, value in asdict(one).items() if key != "output"} for one in each]
            for way, each in found.items()
        },
    }


def _told(model: str, way: str, watched: Watched, photographs: int) -> Watched:
    print(
        f"{model}, {way}: {photographs / watched.seconds:.1f} images/s, "
        f"{photographs / watched.steady_seconds:.1f} once loaded, {watched.processor_seconds:.0f} core seconds, "
        f"{watched.peak_resident_bytes / 1e6:,.0f} MB, shared pages once {watched.peak_share_bytes / 1e6:,.0f} MB",
        flush=True,
    )
    return watched


def _medians(runs: list[Watched], photographs: int) -> dict[str, float]:
    def median(of: str) -> float:
        return statistics.median(getattr(run, of) for run in runs)

    return {
        "images_per_second": photographs / median("seconds"),
        "images_per_second_once_loaded": photographs / median("steady_seconds"),
        "core_seconds_a_thousand": median("processor_seconds") / photographs * 1000,
        "peak_resident_bytes": median("peak_resident_bytes"),
        "peak_share_bytes": median("peak_share_bytes"),
    }


def _rows(model: str, told: dict[str, Any]) -> list[list[str]]:
    rows = []
    for way, of in told["medians"].items():
        rows.append(
            [
                model,
                way if way == WAYS[0] else f"{way}, workers: {told['workers']}",
                f"{of['images_per_second']:.1f}",
                f"{of['images_per_second_once_loaded']:.1f}",
                f"{of['core_seconds_a_thousand']:.1f} s",
                f"{of['peak_resident_bytes'] / 1e6:,.0f} MB",
                f"{of['peak_share_bytes'] / 1e6:,.0f} MB",
            ]
        )
    ours, theirs = (told["medians"][way] for way in WAYS)
    speeds = ("images_per_second", "images_per_second_once_loaded")
    costs = ("core_seconds_a_thousand", "peak_resident_bytes", "peak_share_bytes")
    ratios = [f"{ours[of] / theirs[of]:.2f}" for of in (*speeds, *costs)]
    return [*rows, [model, "the first over the second", *ratios]]
