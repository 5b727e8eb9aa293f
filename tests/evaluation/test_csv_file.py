"""CSV tables as spreadsheets save them, read or refused by name."""

import codecs

import pytest

from hanseg_lab.evaluation.csv_file import read_csv
from hanseg_shared.errors import InputError

COLUMNS = ("organ", "dose")


def rows(path, content: bytes, **options) -> list[dict[str, str]]:
    path.write_bytes(content)
    return [dict(row.cells) for row in read_csv(path, COLUMNS, **options)]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_as_a_spreadsheet_saves_it(tmp_path, mark, end):
    text = end.join(["dose, organ", "3.5,Lips", ",", "", "4,Glottis"])
    found = rows(tmp_path / "t.csv", mark + text.encode())
    assert found == [
        {"dose": "3.5", "organ": "Lips"},
        {"dose": "4", "organ": "Glottis"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("organ,dose\n".encode("utf-16"), "encoded as UTF-16.*save it as 'CSV UTF-8'"),
        ("organ,dose\n".encode("utf-16-le"), "encoded as UTF-16"),
        ("organ,dose\nÄ,1\n".encode("latin-1"), "line 2: it is not UTF-8"),
        (b"organ;dose\nLips;2,5\n", "separated by semicolons; .*by commas"),
        (b"organ\tdose\n", "separated by tabs"),
        (b"", "columns organ, dose are needed, got none"),
        (b"organ,gray\n", "got 'organ', 'gray'"),
        (b"organ,dose,dose\n", "'dose' is there twice"),
        (b"organ,dose\nLips,2,5\n", "line 2: 3 cells for 2 columns"),
        (b"organ,dose\nLips\n", "line 2: 1 cells for 2 columns"),
    ],
)
def test_what_is_no_such_table_is_told_with_the_remedy(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        rows(tmp_path / "t.csv", content)


def test_further_columns_are_refused_where_they_would_be_lost(tmp_path):
    content = b"organ,dose,note\nLips,1,x\n"
    assert rows(tmp_path / "t.csv", content)[0]["dose"] == "1"
    with pytest.raises(InputError, match="are needed"):
        rows(tmp_path / "t.csv", content, exact=True)


@pytest.mark.parametrize("text", ["2,5", "", "٣", "1_0", "two"])
def test_a_number_has_ascii_digits_and_a_point(tmp_path, text):
    (tmp_path / "t.csv").write_text(f'organ,dose\nLips,"{text}"\n', encoding="utf-8")
    (row,) = read_csv(tmp_path / "t.csv", COLUMNS)
    with pytest.raises(InputError, match="dose must be a number"):
        row.number("dose")
