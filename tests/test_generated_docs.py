"""Tables of measurements are put into a page, and nothing else of the page changes."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def generator():
    spec = spec_from_file_location("generate", DOCS / "generate.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_text_between_and_after_tables_stays(tmp_path):
    page = tmp_path / "page.md"
    marker = "<!-- from perf/results/scale_model.json -->\n{}<!-- end -->"
    for empty in ("", "\n", "\n\n"):
        page.write_text(f"before\n\n{marker.format(empty)}\n\nbetween\n\n{marker.format(empty)}\n\nafter\n", "utf-8")
        filled = generator().with_tables(page)
        assert filled.startswith("before\n") and "\n\nbetween\n\n" in filled and filled.endswith("\n\nafter\n")
        assert filled.count("| LAION-400M, 4,000 concepts |") == 2
        page.write_text(filled, "utf-8")
        assert generator().with_tables(page) == filled
