"""Tables of accuracies and counts: units are declared, numbers checked, nothing that is left out goes unlisted."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from tailwag.analysis.inputs import Choice, join, read_accuracies, read_frequencies, saved_frequencies
from tailwag.embed.database import Database
from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.captions import counting as captions
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.counting import CountQuery, count
from tailwag.retrieval.prototypes import PrototypeSet
from tailwag.retrieval.records import save_counts
from tailwag.retrieval.result_tables import result_as_dict, write_csv, write_parquet

from ..corpora import make_corpus, make_prototypes, random_unit

HEADER = "model,pretraining,task,concept,metric,value,n\n"


def written(folder, text, name="a.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def listed(result):
    return [(exclusion.name, exclusion.reason, exclusion.detail) for exclusion in result.exclusions]


def test_a_tidy_table_is_read_as_it_stands(tmp_path):
    path = written(tmp_path, HEADER + 'm,p,t,cat,accuracy,0.25,8\nm,p,t,"null, or nan",accuracy,1,\n')
    found = read_accuracies(path)
    assert found.table.values.tolist()[0] == ["m", "p", "t", "cat", "accuracy", 0.25, 8.0]
    assert found.table["concept"].tolist() == ["cat", "null, or nan"]
    assert math.isnan(found.table["n"][1])
    assert found.exclusions == ()


@pytest.mark.parametrize("concept", ["nan", "NA", "null", "None", "007", "1e5", "True"])
def test_a_concept_that_looks_like_something_else_keeps_its_name(tmp_path, concept):
    path = written(tmp_path, HEADER + f"m,p,t,{concept},accuracy,0.5,\n")
    assert read_accuracies(path).table["concept"].tolist() == [concept]
    counts = written(tmp_path, f"concept,count\n{concept},5\n", "c.csv")
    assert read_frequencies(counts).table["concept"].tolist() == [concept]


def test_pretraining_and_n_are_optional_and_parquet_is_the_same(tmp_path):
    path = written(tmp_path, "task,model,value,metric,concept\nt,m,0.25,accuracy,cat\n")
    found = read_accuracies(path)
    assert found.table["pretraining"].tolist() == [""]
    columns = {"task": ["t"], "model": ["m"], "value": [0.25], "metric": ["accuracy"], "concept": ["cat"]}
    pd.DataFrame(columns).to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_accuracies(tmp_path / "a.parquet").table, found.table)


def test_the_unit_is_declared_and_never_guessed(tmp_path):
    percents = written(tmp_path, HEADER + "m,p,t,cat,accuracy,0.5,\nm,p,t,dog,accuracy,87.5,\n")
    with pytest.raises(
        BadInput, match=r"a.csv, row 3 .model 'm', concept 'dog'.*87.5 is no fraction.*--values percent"
    ):
        read_accuracies(percents)
    assert read_accuracies(percents, values="percent").table["value"].tolist() == [0.005, 0.875]
    beyond = written(tmp_path, HEADER + "m,p,t,cat,accuracy,101,\n")
    with pytest.raises(BadInput, match="101 is no percent from 0 to 100$"):
        read_accuracies(beyond, values="percent")
    with pytest.raises(BadInput, match="-0.1 is no fraction from 0 to 1$"):
        read_accuracies(written(tmp_path, HEADER + "m,p,t,cat,accuracy,-0.1,\n"))


def test_rows_without_a_value_or_a_model_are_listed(tmp_path):
    rows = "m,p,t,a,accuracy,,\nm,p,t,b,accuracy,NaN,\n,p,t,c,accuracy,0.5,\nm,p,t,d,accuracy,0.5,\n"
    found = read_accuracies(written(tmp_path, HEADER + rows))
    assert found.table["concept"].tolist() == ["d"]
    assert listed(found) == [("a", "no value", "row 2"), ("b", "no value", "row 3"), ("c", "no model", "row 4")]


def test_a_row_again_is_listed_and_a_row_that_differs_refused(tmp_path):
    again = "m,p,t,cat,accuracy,0.5,4\nm,p,t,cat,accuracy,0.5,4\n"
    found = read_accuracies(written(tmp_path, HEADER + again))
    assert len(found.table) == 1
    assert listed(found) == [("cat", "the same row again", "row 3 repeats row 2")]
    for other in ("m,p,t,cat,accuracy,0.6,4\n", "m,p,t,cat,accuracy,0.5,5\n", "m,p,t,cat,accuracy,0.5,\n"):
        with pytest.raises(BadInput, match="row 3 .*row 2 gave the same concept another value"):
            read_accuracies(written(tmp_path, HEADER + "m,p,t,cat,accuracy,0.5,4\n" + other))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("model,task,concept,value\nm,t,c,1\n", "no column 'metric': a table of accuracies has model, task, concept"),
        (HEADER + "m,p,t,cat,accuracy,high,\n", "row 2 .*'high' is no number"),
        (HEADER + "m,p,t,cat,accuracy,inf,\n", "row 2 .*not finite"),
        (HEADER + "m,p,t,cat,accuracy,0.5,0\n", "n is 0"),
        (HEADER + "m,p,t,cat,accuracy,0.5,2.5\n", "n is 2.5"),
        (HEADER + "m,p,t,cat,accuracy\n", "row 2: 5 cells where the header has 7"),
        ("model,task,concept,metric,value,value\nm,t,c,a,1,1\n", "the column 'value' stands twice"),
        ("model,task,concept,metric,value,pretrainng\nm,t,c,a,1,p\n", "'pretrainng': did you mean 'pretraining'"),
    ],
)
def test_what_is_no_table_of_accuracies_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_accuracies(written(tmp_path, text))


def test_columns_that_nobody_reads_are_listed(tmp_path):
    found = read_accuracies(written(tmp_path, "model,task,concept,metric,value,notes\nm,t,c,a,1,x\n"))
    assert listed(found) == [("notes", "a column that is not read", "")]


def test_files_that_are_not_there_or_of_no_kind_are_told(tmp_path):
    with pytest.raises(NotFound, match="there is no file"):
        read_accuracies(tmp_path / "nothing.csv")
    with pytest.raises(BadInput, match="is a folder"):
        read_accuracies(tmp_path)
    with pytest.raises(BadInput, match="neither .csv, .tsv, .parquet nor .json"):
        read_accuracies(written(tmp_path, "x", "a.xlsx"))
    with pytest.raises(BadInput, match="neither an evaluation of the paper's release nor"):
        read_accuracies(written(tmp_path, "{}", "a.json"))
    with pytest.raises(BadInput, match="is no parquet"):
        read_accuracies(written(tmp_path, "x", "a.parquet"))
    with pytest.raises(BadInput, match="no layout 'excel'"):
        read_accuracies(tmp_path, layout="excel")
    with pytest.raises(BadInput, match="no file to read"):
        read_accuracies([])


def test_several_files_are_put_together(tmp_path):
    one = written(tmp_path, HEADER + "m,p,t,cat,accuracy,0.5,\n")
    two = written(tmp_path, HEADER + "m,p,t,dog,accuracy,,\nm,p,t,bat,accuracy,0.1,\n", "b.csv")
    found = read_accuracies([one, two])
    assert found.table["concept"].tolist() == ["cat", "bat"]
    assert len(found.exclusions) == 1


def test_clip_benchmark_gives_values_of_whole_sets_that_no_plot_of_concepts_takes(tmp_path):
    run = {"dataset": "cars", "model": "ViT-B-32", "pretrained": "openai", "task": "zeroshot_classification"}
    run |= {"language": "en", "metrics": {"acc1": 0.6, "acc5": 0.9, "mean_per_class_recall": 0.61, "odd": [1]}}
    found = read_accuracies(written(tmp_path, json.dumps(run), "cars_openai.json"))
    assert found.table[["model", "pretraining", "task", "concept", "metric", "value"]].values.tolist()[0] == [
        *("ViT-B-32", "openai", "cars", "", "acc1", 0.6),
    ]
    assert listed(found)[0][:2] == ("odd", "a metric that is no number from 0 to 1")
    with pytest.raises(BadInput, match="of whole test sets"):
        join(found, read_frequencies(written(tmp_path, "concept,count\ncat,5\n", "c.csv")))

    table = "acc1,dataset,model,pretrained,task,image_retrieval_recall@5,model_fullname\n"
    table += "0.6,cars,B,openai,zeroshot_classification,,B openai\n,coco,B,openai,zeroshot_retrieval,0.4,B openai\n"
    built = read_accuracies(written(tmp_path, table, "benchmark.csv"))
    assert built.table[["task", "metric", "value"]].values.tolist() == [
        ["cars", "acc1", 0.6],
        ["coco", "image_retrieval_recall@5", 0.4],
    ]
    with pytest.raises(BadInput, match="writes fractions"):
        read_accuracies(tmp_path / "benchmark.csv", values="percent")
    del run["pretrained"]
    with pytest.raises(BadInput, match="it says no pretrained"):
        read_accuracies(written(tmp_path, json.dumps(run), "cars_openai.json"))


def test_counts_of_a_plain_table(tmp_path):
    path = written(tmp_path, "concept,count,rows,lower,upper\ncat,5,100,4,6\ndog,,100,,\n")
    found = read_frequencies(path)
    assert found.table.drop(columns=["estimate"]).values.tolist() == [["", "image", "", "cat", 5, 100, 4, 6, ""]]
    assert listed(found)[0][:2] == ("dog", "no count")
    named = read_frequencies(path, choice=Choice(pretraining="cc3m", side="joint", task="pets"))
    assert named.table.iloc[0][["pretraining", "side", "task"]].tolist() == ["cc3m", "joint", "pets"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concept\ncat\n", "no column 'count'"),
        ("name,count\ncat,1\n", "no column 'concept'"),
        ("concept,count,threshhold\ncat,1,0.2\n", "did you mean 'threshold'"),
        ("concept,count\ncat,-1\n", "row 2: count is -1"),
        ("concept,count,rows\ncat,7,6\n", "row 2: count is 7 of 6 rows"),
        ("concept,count,lower,upper\ncat,7,6,5\n", "the interval begins at 6 and ends at 5"),
        ("concept,count\ncat,5\ncat,6\n", "row 3: 'cat' has another count in .*row 2"),
        ("concept,count,side\ncat,5,back\n", "no side 'back'"),
        ("concept,count\n", "has no counts"),
        ("concept,count,threshold\ncat,5,0.2\ncat,4,0.3\n", "at several thresholds, 0.2, 0.3: choose one"),
        ("concept,count,control\ncat,5,\ncat,4,u < 0.5\n", "under the controls"),
    ],
)
def test_what_is_no_table_of_counts_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_frequencies(written(tmp_path, text))


def test_one_of_several_counts_can_be_chosen(tmp_path):
    rows = "cat,5,0.2,,image\ncat,4,0.3,,image\ncat,3,0.3,c,image\ncat,2,0.3,,joint\n"
    path = written(tmp_path, "concept,count,threshold,control,side\n" + rows)
    found = read_frequencies(path, choice=Choice(threshold=0.3, control="", side="image"))
    assert found.table["count"].tolist() == [4]
    assert len(read_frequencies(path, choice=Choice(threshold=0.3, control="")).table) == 2
    with pytest.raises(BadInput, match="no counts at threshold 0.4; it has 0.2, 0.3"):
        read_frequencies(path, choice=Choice(threshold=0.4))
    with pytest.raises(BadInput, match="no counts of side caption"):
        read_frequencies(path, choice=Choice(side="caption"))
    with pytest.raises(BadInput, match="no side 'back'"):
        Choice(side="back")


@pytest.fixture
def corpus(tmp_path):
    words = ["a red panda", "two red pandas", "grass", "the panda is red"]
    return make_corpus(tmp_path / "db", random_unit(40, 16), captions=[words[row % 4] for row in range(40)])


def test_what_tailwag_counts_is_read_back_from_each_of_its_files(tmp_path, corpus):
    result = count(corpus, CountQuery(make_prototypes(random_unit(3, 16, seed=1)), 0.1))
    write_csv(result, str(tmp_path / "c.csv"))
    write_parquet(result, str(tmp_path / "c.parquet"))
    (tmp_path / "c.json").write_text(json.dumps(result_as_dict(result)))
    for name in ("c.csv", "c.parquet", "c.json"):
        found = read_frequencies(tmp_path / name)
        assert found.exclusions == (), name
        assert found.table["count"].tolist() == result.counts[:, 0].tolist()
        assert set(found.table["pretraining"]) == {"made"}
        assert set(found.table["rows"]) == {40}
    flat = written(tmp_path, json.dumps({"cat": 3}), "flat.json")
    assert read_frequencies(flat, choice=Choice(pretraining="x")).table["count"].tolist() == [3]


def test_a_table_of_captions_gives_the_rule_that_is_chosen(tmp_path, corpus):
    counted = captions.count_captions(corpus, ConceptSet("s", (Concept("red panda"),)))
    write_csv(counted, str(tmp_path / "c.csv"))
    found = read_frequencies(tmp_path / "c.csv")
    assert found.table[["side", "count", "rows"]].values.tolist() == [["caption", 30, 40]]
    assert found.exclusions == ()
    assert read_frequencies(tmp_path / "c.csv", choice=Choice(caption_rule="phrase")).table["count"].tolist() == [10]
    with pytest.raises(BadInput, match="no caption rule 'loose'; there are words, phrase, paper"):
        Choice(caption_rule="loose")


def test_a_count_beside_captions_gives_all_three_sides(tmp_path):
    path = written(tmp_path, "concept,count,rows,threshold,joint,caption,lift\ncat,5,100,0.2,2,7,\n")
    found = read_frequencies(path).table
    assert dict(zip(found["side"], found["count"], strict=True)) == {"image": 5, "joint": 2, "caption": 7}
    assert read_frequencies(path, choice=Choice(side="joint")).table["count"].tolist() == [2]


def test_saved_counts_are_those_of_the_newest_run(corpus):
    database = Database(corpus.database.uri)
    with pytest.raises(NotFound, match="none is saved: count with --save"):
        saved_frequencies(database, "made")
    runs = []
    for threshold in (0.1, 0.2):
        query = CountQuery(make_prototypes(random_unit(3, 16, seed=1)), threshold, partials=True)
        result = count(corpus, query)
        runs.append((save_counts(corpus, query, result).run.name, result.counts[:, 0].tolist()))
    assert saved_frequencies(database, "made").table["count"].tolist() == runs[1][1]
    assert saved_frequencies(database, "made", run=runs[0][0]).table["count"].tolist() == runs[0][1]
    assert runs[0][1] != runs[1][1]
    with pytest.raises(NotFound, match="no saved counts of corpus 'made' of side joint; there are"):
        saved_frequencies(database, "made", choice=Choice(side="joint"))


def test_estimates_are_frequencies_and_their_intervals_are_kept(tmp_path):
    path = written(tmp_path, "concept,estimate,lower,upper,confidence,rows,approximate\ncat,50,40,60,0.95,100,True\n")
    found = read_frequencies(path)
    points = join(read_accuracies(written(tmp_path, HEADER + "m,p,t,cat,a,0.5,\n")), found)
    assert points.table[["frequency", "lower", "upper"]].values.tolist() == [[50, 40, 60]]
    assert np.isnan(points.table["count"][0])
    assert found.exclusions == ()


def test_a_saved_count_beside_captions_gives_its_three_sides(corpus):
    from tailwag.retrieval.captions.joint import joint_frequency
    from tailwag.retrieval.captions.saved import caption_rows

    concepts = ConceptSet("s", (Concept("red panda"), Concept("grass")))
    vectors = make_prototypes(random_unit(2, 16, seed=1))
    prototypes = PrototypeSet(concepts.names, vectors.vectors, vectors.space, vectors.recipes)
    query = CountQuery(prototypes, 0.1, partials=True)
    joint = joint_frequency(corpus, query, captions.count_captions(corpus, concepts))
    save_counts(corpus, query, joint.images, more_rows=lambda run: caption_rows(joint, run))
    found = saved_frequencies(Database(corpus.database.uri), "made").table
    counts = {(row.side, row.concept): row.count for row in found.itertuples()}
    assert {side for side, _ in counts} == {"image", "caption", "joint"}
    assert counts["caption", "red panda"] == 30
    assert 0 < counts["joint", "red panda"] < counts["image", "red panda"]
