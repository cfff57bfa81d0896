"""Files of thresholds: what they say of spaces and kinds of prototypes, and that what is written is read again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.errors import BadInput
from tailwag.retrieval.thresholds import read_threshold_table, write_threshold_table
from tests.corpora import make_space


def written(folder, text):
    path = folder / "thresholds.csv"
    path.write_text(text)
    return read_threshold_table(path)


@given(
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=5),
    kind=st.sampled_from(["plain", "centred"]),
)
def test_what_is_written_is_read_to_the_last_bit(tmp_path_factory, values, kind):
    path = tmp_path_factory.mktemp("written") / "thresholds.csv"
    names, space = [f'thing "{number}", a' for number in range(len(values))], make_space(8)
    write_threshold_table(
        path, names, np.array(values), space=space, kind=kind, sources="best F1", more={"hits": range(len(values))}
    )
    table = read_threshold_table(path)
    assert table.concepts == tuple(names) and table.thresholds.tolist() == values
    assert table.kind == kind and set(table.spaces) == {space.fingerprint} and set(table.sources) == {"best F1"}
    assert path.read_text().splitlines()[0] == "concept,threshold,kind,space,source,hits"


def test_a_file_that_does_not_say_is_of_plain_prototypes(tmp_path):
    assert written(tmp_path, "concept,threshold\ndog,0.2\n").kind == "plain"
    assert written(tmp_path, "concept,threshold,kind\ndog,0.2,\ncat,0.1,plain\n").kind == "plain"


def test_thresholds_of_another_kind_are_refused_and_a_mixture_has_no_kind(tmp_path):
    mixed = written(tmp_path, "concept,threshold,kind\ndog,0.2,plain\ncat,0.05,centred\n")
    with pytest.raises(BadInput, match="'cat'.* holds for centred prototypes, and these are plain: do this"):
        mixed.require_kind("plain", "do this")
    with pytest.raises(BadInput, match="mixes kinds: the threshold of 'dog' holds for plain .* that of 'cat'"):
        _ = mixed.kind
    written(tmp_path, "concept,threshold,kind\ndog,0.2,centred\n").require_kind("centred", "")


def test_a_kind_that_does_not_exist_is_a_mistake_of_the_file(tmp_path):
    with pytest.raises(BadInput, match="line 2: the kind of 'dog' is 'centered', none of plain, centred"):
        written(tmp_path, "concept,threshold,kind\ndog,0.2,centered\n")


def test_columns_of_other_lengths_and_places_that_cannot_be_written_are_refused(tmp_path):
    known = {"space": make_space(8), "kind": "plain", "sources": "given"}
    with pytest.raises(BadInput, match="1 values of 'hits' are not one for each of the 2"):
        write_threshold_table(tmp_path / "t.csv", ["a", "b"], np.zeros(2), **known, more={"hits": [1]})
    with pytest.raises(BadInput, match="cannot be written"):
        write_threshold_table(Path(tmp_path / "none" / "t.csv"), ["a"], np.zeros(1), **known)
    assert not list(tmp_path.iterdir())
