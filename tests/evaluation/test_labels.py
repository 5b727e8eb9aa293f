"""Whose numbers and names masks have: said by the folder or the user, never guessed."""

import codecs
import gzip
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.evaluation.case_folders import find_case_masks
from hanseg_lab.evaluation.label_table import read_label_table
from hanseg_lab.evaluation.scores import read_scores
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_labels, write_volume
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.evaluation.folders import GRID, PLACES, label_map, moved, run

TWO = {name: PLACES[name] for name in ("Parotid_L", "SpinalCord")}


def plain(path: Path, numbers: dict[str, int] | None = None) -> Path:
    """Write two organs with some numbers, where nothing says whose they are."""
    labels = label_map(TWO)
    array = np.zeros_like(labels.array)
    for name in TWO:
        value = (numbers or {}).get(name, organ(name).label)
        array[labels.array == organ(name).label] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_volume(Volume(array, GRID), path)


def segments(
    path: Path, labels: Volume, named: list[tuple[str, int]], *, end: str = "\n"
) -> Path:
    """Write a label map as 3D Slicer does, with a name for each number."""
    grid = labels.grid
    x, y, z = grid.spacing
    lines = [
        *("NRRD0004", "type: unsigned char", "dimension: 3"),
        "space: left-posterior-superior",
        f"sizes: {grid.size[0]} {grid.size[1]} {grid.size[2]}",
        f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})",
        *("kinds: domain domain domain", "encoding: gzip"),
        f"space origin: ({grid.origin[0]},{grid.origin[1]},{grid.origin[2]})",
    ]
    for n, (name, value) in enumerate(named):
        lines += [f"Segment{n}_Name:={name}", f"Segment{n}_LabelValue:={value}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = gzip.compress(labels.array.astype(np.uint8).tobytes(), 1)
    path.write_bytes((end.join(lines) + end + end).encode() + voxels)
    return path


def part_of(labels: Volume, name: str) -> Volume:
    """Return an organ cropped to its extent, as 3D Slicer saves it."""
    z, y, x = PLACES[name]
    size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
    grid = GRID.crop((x.start, y.start, z.start), size)
    return Volume(np.ascontiguousarray(labels.array[z, y, x]), grid)


def dice(tmp_path: Path, *options: object) -> dict[str, float]:
    """Return the Dice of each organ of `p` and `r`."""
    out = tmp_path / "out"
    arguments = ("--out", out, "--workers", "1", *options)
    result = run("evaluate", tmp_path / "p", tmp_path / "r", *arguments)
    assert result.exit_code == 0, result.exception
    scores = read_scores(out / "results.csv")
    return {s.organ: s.value for s in scores if s.metric is Metric.DSC}


def refusal(tmp_path: Path, *options: object) -> str:
    arguments = ("--out", tmp_path / "out", "--workers", "1", *options)
    result = run("evaluate", tmp_path / "p", tmp_path / "r", *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
    return str(result.exception)


def test_nobodys_numbers_are_asked_for_in_one_line(tmp_path):
    for side in "pr":
        for case in ("7", "8", "9"):
            plain(tmp_path / side / f"{case}.nii.gz")
    message = refusal(tmp_path)
    assert len(message.splitlines()) == 1
    assert "p/7.nii.gz and 2 more: nothing says" in message
    assert "--labels" in message


@pytest.mark.parametrize("name", ["han-seg", "HaN-Seg", "han_seg"])
def test_a_built_in_declaration_is_given_by_its_name(tmp_path, name):
    for side in "pr":
        plain(tmp_path / side / "7.nii.gz")
    assert dice(tmp_path, "--labels", name) == {"Parotid_L": 1, "SpinalCord": 1}


@pytest.mark.parametrize("names", [("rot", "blau"), ("roi_1", "roi_2"), ("sheet",)])
def test_files_of_a_sub_folder_with_unknown_names_are_no_cases(tmp_path, names):
    for side in "pr":
        for name in names:
            plain(tmp_path / side / "anna" / f"{name}.nii.gz", {"Parotid_L": 1})
    message = refusal(tmp_path, "--labels", "han-seg")
    assert len(message.splitlines()) == 1
    assert f"p/anna: {', '.join(sorted(names))}" in message.replace(".nii.gz", "")
    assert "--labels FILE" in message


@pytest.mark.parametrize("name", ["7_seg", "group", "7_oars"])
def test_a_sub_folders_label_map_is_known_by_its_name(tmp_path, name):
    for side in "pr":
        plain(tmp_path / side / "group" / f"{name}.nii.gz")
    assert dice(tmp_path, "--labels", "han-seg") == {"Parotid_L": 1, "SpinalCord": 1}


def test_a_table_says_what_files_with_unknown_names_are(tmp_path):
    for side in "pr":
        for name in ("rot", "blau"):
            one = {"Parotid_L": 1, "SpinalCord": 1}
            plain(tmp_path / side / "anna" / f"{name}.nii.gz", one)
    (tmp_path / "t.csv").write_text("rot,SpinalCord\nblau,\n")
    assert dice(tmp_path, "--labels", tmp_path / "t.csv") == {"SpinalCord": 1}


def test_our_own_results_say_whose_numbers_they_have(tmp_path):
    plain(tmp_path / "p" / "7" / "segmentation.nii.gz")
    (tmp_path / "p" / "7" / "job.json").write_text("{}")
    plain(tmp_path / "r" / "7.nii.gz", {"Parotid_L": 2, "SpinalCord": 9})
    table = tmp_path / "clinic.csv"
    table.write_bytes(
        codecs.BOM_UTF8 + b"value,organ\r\n2,Parotid_L\r\n9,spinal cord\r\n"
    )
    assert dice(tmp_path, "--labels", table) == {"Parotid_L": 1, "SpinalCord": 1}


def test_each_side_may_have_numbers_of_its_own(tmp_path):
    plain(tmp_path / "p" / "7.nii.gz", {"Parotid_L": 1, "SpinalCord": 2})
    plain(tmp_path / "r" / "7.nii.gz", {"Parotid_L": 2, "SpinalCord": 1})
    tables = [tmp_path / "a.csv", tmp_path / "b.csv"]
    tables[0].write_text("1,Parotid_L\n2,SpinalCord\n")
    tables[1].write_text("2,Parotid_L\n1,SpinalCord\n")
    options = ("--labels", tables[0], "--labels", tables[1])
    assert dice(tmp_path, *options) == {"Parotid_L": 1, "SpinalCord": 1}


def test_a_data_sets_declaration_decides(tmp_path):
    for side in "pr":
        plain(tmp_path / side / "7.nii.gz", {"Parotid_L": 3, "SpinalCord": 4})
        labels = [
            {"name": "left", "value": 3, "organs": ["Parotid_L"]},
            {"name": "round the cord", "value": 4, "organs": ["SpinalCord"]},
        ]
        labels[1]["extent"] = "larger"
        text = json.dumps({"name": "clinic", "labels": labels})
        (tmp_path / side / "dataset.json").write_text("\ufeff" + text, "utf-8")
    assert dice(tmp_path) == {"Parotid_L": 1}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "round the cord" in summary["remarks"][0]


def test_openkbps_numbers_are_its_own(tmp_path):
    for side in "pr":
        plain(tmp_path / side / "7_oars.nii.gz", {"Parotid_L": 4, "SpinalCord": 2})
    found = dice(tmp_path, "--labels", "openkbp")
    assert found == {"Parotid_L": 1, "SpinalCord": 1}


def test_a_label_may_stand_for_several_organs(tmp_path):
    plain(tmp_path / "p" / "7" / "segmentation.nii.gz", {"SpinalCord": 28})
    (tmp_path / "p" / "7" / "job.json").write_text("{}")
    plain(tmp_path / "r" / "7.nii.gz", {"Parotid_L": 5, "SpinalCord": 5})
    (tmp_path / "t.csv").write_text("value,organ\n5,Parotid_R + Parotid_L\n")
    assert dice(tmp_path, "--labels", tmp_path / "t.csv") == {"Parotid_L+Parotid_R": 1}
    assert "Parotid_L+Parotid_R" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("value;organ\n1;Lips\n", "semicolons"),
        ("value,organ\n1,Nose\n", "line 2: no organ is called 'Nose'"),
        ("value,organ\n1,Lips\n1,Glottis\n", "line 3: the value 1 is there twice"),
        ("value,organ\n0,Lips\n", "must be 1 to 255, got 0"),
        ("value,organ\n300,Lips\n", "must be 1 to 255, got 300"),
        ("value,organ\n1\n", "line 2"),
        ("value,name\n1,Lips\n", "columns value, organ"),
        ("value,organ\n", "no labels"),
        ("", "no labels"),
        ("value,organ\n1,Eye_AL+Eye_PL\n2,Eye_AL\n", "Eye_AL is in"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_label_table(str(tmp_path / "t.csv"))


def test_a_table_that_is_not_there_is_told_with_the_names_there_are():
    with pytest.raises(OptionError, match=r"no such file; .*han_seg, matched, openkbp"):
        read_label_table("nothing.csv")


def test_other_scripts_digits_are_names_not_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("value,organ\n٤,Lips\n4²,Glottis\n", "utf-8")
    table = read_label_table(str(tmp_path / "t.csv"))
    assert table.by_value == {}
    assert set(table.by_name) == {"٤", "4²"}


def test_a_value_that_the_table_does_not_have_is_told(tmp_path):
    for side in "pr":
        plain(tmp_path / side / "7.nii.gz", {"SpinalCord": 77})
    assert "labels 77" in refusal(tmp_path, "--labels", "han-seg")


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "dos"])
def test_the_names_of_segments_decide_not_their_numbers(tmp_path, end):
    named = [("spinal cord", 27), ("LEFT Parotid", 30)]
    swapped = plain(tmp_path / "x.nii.gz", {"Parotid_L": 30, "SpinalCord": 27})
    segments(tmp_path / "r" / "7.seg.nrrd", read_labels(swapped), named, end=end)
    plain(tmp_path / "p" / "7.nii.gz")
    found = dice(tmp_path, "--labels", "han-seg")
    assert found == {"Parotid_L": 1, "SpinalCord": 1}


def test_segments_that_are_no_organ_are_told_and_can_be_left_out(tmp_path):
    named = [("Parotid_L", 27), ("lymph node 3", 30)]
    for side in "pr":
        segments(tmp_path / side / "7.seg.nrrd", label_map(TWO), named)
    message = refusal(tmp_path)
    assert "7.seg.nrrd: segments that are no organ" in message
    assert "lymph node 3," in message
    (tmp_path / "t.csv").write_text("value,organ\nLymph Node 3,\n")
    assert dice(tmp_path, "--labels", tmp_path / "t.csv") == {"Parotid_L": 1}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([("Parotid_L", 27), ("left parotid", 30)], "two segments are Parotid_L"),
        ([("Parotid_L", 27), ("SpinalCord", 27)], "both have label 27"),
        ([("Parotid_L", -1)], "which is no whole number"),
    ],
)
def test_segments_that_contradict_each_other_are_told(tmp_path, named, message):
    file = segments(tmp_path / "7.seg.nrrd", label_map(TWO), named)
    with pytest.raises(InputError, match=message):
        find_case_masks(file)


def test_a_voxel_of_no_segment_is_told(tmp_path):
    for side in "pr":
        segments(tmp_path / side / "7.seg.nrrd", label_map(TWO), [("Parotid_L", 27)])
    assert "labels 30, which the header's list of segments" in refusal(tmp_path)


def test_a_file_and_its_segment_must_not_name_two_organs(tmp_path):
    path = tmp_path / "case_1" / "case_1_OAR_Parotid_L.seg.nrrd"
    segments(path, part_of(label_map(), "Parotid_L"), [("Parotid_R", 27)])
    with pytest.raises(InputError, match="called Parotid_L, but its segment Parotid_R"):
        find_case_masks(tmp_path)


@pytest.mark.parametrize("organs", [["SpinalCord"], ["SpinalCord", "Parotid_L"]])
def test_segments_may_be_cropped_whether_one_or_many(tmp_path, organs):
    places = {name: PLACES[name] for name in organs}
    for name in organs:
        path = tmp_path / "r" / "c_1" / f"c_1_OAR_{name}.seg.nrrd"
        write_cropped = part_of(label_map(places), name)
        segments(path, write_cropped, [("Segment_1", organ(name).label)])
    (tmp_path / "p").mkdir()
    write_volume(label_map(places), tmp_path / "p" / "c_1.nii.gz")
    assert dice(tmp_path, "--labels", "han-seg") == dict.fromkeys(organs, 1.0)


def test_a_cropped_label_map_of_segments_is_scored(tmp_path):
    part = part_of(label_map(), "Parotid_L")
    segments(tmp_path / "r" / "7.seg.nrrd", part, [("Parotid_L", 27)])
    (tmp_path / "p").mkdir()
    only = {"Parotid_L": PLACES["Parotid_L"]}
    write_volume(label_map(only), tmp_path / "p" / "7.nii.gz")
    assert dice(tmp_path, "--labels", "han-seg") == {"Parotid_L": 1}


def test_a_whole_segmentation_somewhere_else_is_not_taken_for_a_part(tmp_path):
    shifted = Grid(GRID.size, GRID.spacing, (GRID.origin[0] + 1.0, *GRID.origin[1:]))
    elsewhere = Volume(label_map(TWO).array, shifted)
    named = [("Parotid_L", 27), ("SpinalCord", 30)]
    segments(tmp_path / "r" / "7.seg.nrrd", elsewhere, named)
    segments(tmp_path / "p" / "7.seg.nrrd", label_map(TWO), named)
    assert "7: the prediction" in refusal(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("parotid_gland_left", "spinal_cord"),
        ("PAROTID_L", "SPINALCORD"),
        ("L_Parotid", "Cord_Spinal"),
        ("c_1_Parotid_L", "c_1_SpinalCord"),
    ],
)
def test_files_are_called_as_organs_in_any_known_way(tmp_path, names):
    labels = label_map(TWO)
    for side in "pr":
        folder = tmp_path / side / "c_1"
        folder.mkdir(parents=True)
        for name, file in zip(TWO, names, strict=True):
            mask = labels.with_array(labels.array == organ(name).label)
            write_volume(mask, folder / f"{file}.nii.gz")
        write_volume(labels, folder / "c_1_ct.nii.gz")
    assert dice(tmp_path) == {"Parotid_L": 1, "SpinalCord": 1}


@pytest.mark.parametrize(
    "names", [("spinal_cord", "liver"), ("lung_left", "vertebrae_C2"), ("gtv", "Lips")]
)
def test_files_that_are_no_organ_are_named_and_no_cases(tmp_path, names):
    for side in "pr":
        for name in names:
            plain(tmp_path / side / "c_1" / f"{name}.nii.gz")
    message = refusal(tmp_path, "--labels", "han-seg")
    assert "files that are no organ by their names: " in message
    unknown = message.split("a line ")[1].split(",")[0]
    assert unknown in names


def test_a_file_that_is_no_organ_can_be_left_out_as_the_message_says(tmp_path):
    cord = label_map({"SpinalCord": PLACES["SpinalCord"]})
    for side in "pr":
        plain(tmp_path / side / "c_1" / "liver.nii.gz")
        write_volume(cord, tmp_path / side / "c_1" / "spinal_cord.nii.gz")
    assert "a line liver,<organ>" in refusal(tmp_path)
    (tmp_path / "t.csv").write_text("value,organ\nliver,\n")
    assert dice(tmp_path, "--labels", tmp_path / "t.csv") == {"SpinalCord": 1}


def test_a_label_map_beside_other_cases_does_not_hide_them(tmp_path):
    for name in ("label", "MR_01", "anna_seg"):
        plain(tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match=r"which is the case's.*MR_01.*anna_seg"):
        find_case_masks(tmp_path)


def test_what_only_one_has_is_one_line_and_can_be_left_out(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "p").mkdir()
    for case in ("a", "b", "c"):
        write_volume(label_map(TWO), tmp_path / "r" / f"{case}.nii.gz")
        others = {n: PLACES[n] for n in ("Parotid_L", "Parotid_R")}
        write_volume(label_map(others), tmp_path / "p" / f"{case}.nii.gz")
    message = refusal(tmp_path, "--labels", "han-seg")
    (line,) = message.splitlines()[1:]
    assert "only in the prediction: Parotid_R; only in the reference: SpinalC" in line
    assert "--common" in line
    assert dice(tmp_path, "--labels", "han-seg", "--common") == {"Parotid_L": 1}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["unscored"]["b"] == ["SpinalCord"]
    assert summary["left_out"]["b"] == ["Parotid_R"]


def test_common_and_another_rule_contradict_each_other(tmp_path):
    for side in "pr":
        plain(tmp_path / side / "7.nii.gz")
    assert "contradict" in refusal(tmp_path, "--common", "--empty", "strict")


@pytest.mark.parametrize("rule", ["refuse", "challenge", "strict", "common"])
def test_nothing_to_score_is_one_line(tmp_path, rule):
    for side in "pr":
        (tmp_path / side).mkdir()
        write_volume(label_map({}), tmp_path / side / "7.nii.gz")
    message = refusal(tmp_path, "--labels", "han-seg", "--empty", rule)
    assert message == "nothing can be scored in 1 cases: neither side holds an organ"


def test_a_prediction_that_missed_everything_is_scored(tmp_path):
    for side, places in (("p", {}), ("r", TWO)):
        (tmp_path / side).mkdir()
        write_volume(label_map(places), tmp_path / side / "7.nii.gz")
    found = dice(tmp_path, "--labels", "han-seg", "--empty", "challenge")
    assert found == {"Parotid_L": 0, "SpinalCord": 0}


def test_cases_match_however_their_umlauts_are_written(tmp_path):
    name = "Žürich_3.nii.gz"
    composed = unicodedata.normalize("NFC", name)
    decomposed = unicodedata.normalize("NFD", name)
    for side, written in (("p", composed), ("r", decomposed)):
        plain(tmp_path / side / written)
        plain(tmp_path / side / "2²1.nii.gz")
        plain(tmp_path / side / "4.nii.gz")
    assert set(dice(tmp_path, "--labels", "han-seg")) == set(TWO)


def test_a_corrected_file_is_taken_for_ours_unless_its_segments_say_more(tmp_path):
    plain(tmp_path / "7.nii.gz")
    (source,) = find_case_masks(tmp_path / "7.nii.gz", read_label_table("han-seg"))
    assert source.labels.by_value[30] == "SpinalCord"


def test_moved_masks_keep_their_names(tmp_path):
    named = [("Parotid_L", 27), ("SpinalCord", 30)]
    segments(tmp_path / "p" / "7.seg.nrrd", moved(label_map(TWO)), named)
    segments(tmp_path / "r" / "7.seg.nrrd", label_map(TWO), named)
    assert dice(tmp_path)["Parotid_L"] == pytest.approx(5 / 6)
