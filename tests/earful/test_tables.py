import csv
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earful.errors import InputError
from earful.tables import Row, open_table


def read(path: Path, encoding: str | None = None, size: int = 2048) -> tuple[tuple[str, ...], list[Row]]:
    with open_table(path, encoding, size) as table:
        return table.columns, [row for batch in table.batches for row in batch.rows]


def rows_of(folder: Path, content: str | bytes, name: str = "in.csv", encoding: str | None = None) -> list[Row]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, encoding)[1]


@pytest.mark.parametrize(
    "content",
    [
        b"id,text\n1,caf\xc3\xa9\n2,b\n",
        b"\xef\xbb\xbfid,text\n1,caf\xc3\xa9\n2,b\n",
        "id,text\n1,café\n2,b\n".encode("utf-16"),
        b"\xfe\xff" + "id,text\n1,café\n2,b\n".encode("utf-16-be"),
        "id;text\r\n1;café\r\n2;b\r\n".encode(),
        "id\ttext\n1\tcafé\n2\tb".encode(),
        "id|text\n\n1|café\n\n2|b\n\n".encode(),
        ' id , text \n1,"café"\n"2",b\n'.encode(),
    ],
    ids=["utf-8", "utf-8 mark", "utf-16 mark", "utf-16-be mark", "semicolon", "tab", "bar, blank lines", "quotes"],
)
def test_a_csv_is_read_whatever_its_encoding_mark_and_delimiter(tmp_path: Path, content: bytes) -> None:
    rows = rows_of(tmp_path, content)
    assert rows == [Row(1, {"id": "1", "text": "café"}), Row(2, {"id": "2", "text": "b"})]


def test_a_csv_in_another_encoding_is_read_when_that_is_named(tmp_path: Path) -> None:
    assert rows_of(tmp_path, b"text\ncaf\xe9\n", encoding="cp1252") == [Row(1, {"text": "café"})]


def test_quoted_newlines_delimiters_and_quotes_belong_to_the_field(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 'id,text\r\n1,"Dear sir,\r\nsay ""sorry""\n"\r\n2,b\r\n')
    assert rows == [Row(1, {"id": "1", "text": 'Dear sir,\r\nsay "sorry"\n'}), Row(2, {"id": "2", "text": "b"})]


def test_a_letter_longer_than_the_csv_module_s_own_limit_is_read(tmp_path: Path) -> None:
    letter = "x" * 200_000
    assert rows_of(tmp_path, f"text\n{letter}\n") == [Row(1, {"text": letter})]


def test_ragged_rows_are_errors_in_place_with_what_they_held(tmp_path: Path) -> None:
    short, long, good = rows_of(tmp_path, "id,text,channel\n1,a\n2,b,c,d\n3,e,sms\n")
    assert short == Row(1, {"id": "1", "text": "a"}, "line 2 has 2 fields where the header has 3")
    assert long == Row(2, {"id": "2", "text": "b", "channel": "c,d"}, "line 3 has 4 fields where the header has 3")
    assert good == Row(3, {"id": "3", "text": "e", "channel": "sms"})


@pytest.mark.parametrize(
    ("name", "form"), [("in.csv", b"text\na\n%b\nb\n"), ("in.jsonl", b'{"text":"a"}\n{"text":"%b"}\n{"text":"b"}\n')]
)
def test_bytes_that_are_not_in_the_encoding_spoil_their_row_alone(tmp_path: Path, name: str, form: bytes) -> None:
    before, bad, after = rows_of(tmp_path, form % b"caf\xe9", name)
    assert (before, after) == (Row(1, {"text": "a"}), Row(3, {"text": "b"}))
    assert bad.number == 2
    assert bad.error == "text: is not in the file's encoding; save it as UTF-8 or name its --encoding"


def test_a_stray_quote_spoils_its_row_alone(tmp_path: Path) -> None:
    before, bad, after = rows_of(tmp_path, 'text\na\n"12" screen broken\nb\n')
    assert (before, after) == (Row(1, {"text": "a"}), Row(3, {"text": "b"}))
    assert bad.number == 2
    assert "from line 3 on" in str(bad.error)
    assert "look for a stray quote" in str(bad.error)


def test_a_file_with_an_unclosed_quote_is_refused_with_the_line_where_it_opens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3 opens a quote that is never closed"):
        rows_of(tmp_path, 'text\na\n"never closed\nb\nc\n')


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    assert read(tmp_path / "in.csv") == (("id", "text"), [])


JSONL = """\
{"id": 1, "text": "a"}

{"text": "b", "more": {"deep": [1]}}
not json
["a", "list"]
"text"
{"text": "unfinished
{"text": "a\u2028b\u0085c"}
"""


def test_json_lines_that_cannot_be_read_are_errors_in_place(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, JSONL, "in.jsonl")
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.values for row in rows if row.error is None] == [
        {"id": 1, "text": "a"},
        {"text": "b", "more": {"deep": [1]}},
        {"text": "a\u2028b\u0085c"},
    ]
    errors = [str(row.error) for row in rows[2:6]]
    assert [error.split(":")[0].split(";")[0] for error in errors] == [
        "is not JSON", "is not a JSON object", "is not a JSON object", "is not JSON",
    ]  # fmt: skip


def test_json_nested_too_deep_is_an_error_in_its_row(tmp_path: Path) -> None:
    deep, good = rows_of(tmp_path, "[" * 200_000 + '\n{"text": "a"}\n', "in.jsonl")
    assert str(deep.error).startswith("is not JSON")
    assert good == Row(2, {"text": "a"})


def test_columns_of_json_lines_are_those_of_all_rows_in_order_of_appearance(tmp_path: Path) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text('{"text": "a"}\nbad\n{"id": 1, "text": "b"}\n')
    assert read(path)[0] == ("text", "id")


def test_an_empty_jsonl_is_a_table_without_rows(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "", "in.jsonl") == []


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_rows_are_numbered_through_all_batches(tmp_path: Path, name: str, size: int) -> None:
    texts = [str(n) for n in range(1, 8)]
    path = tmp_path / name
    if name == "in.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    elif name == "in.jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        path.write_text("text\n" + "\n".join(texts))
    with open_table(path, size=size) as table:
        batches = list(table.batches)
    assert [len(batch.rows) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert [(row.number, row.values["text"]) for batch in batches for row in batch.rows] == list(enumerate(texts, 1))


def test_parquet_keeps_its_types_schema_and_record_batches(tmp_path: Path) -> None:
    path = tmp_path / "in.pq"
    made = pyarrow.table({"id": [1, None], "text": ["a", None], "tags": [["x"], []]})
    pyarrow.parquet.write_table(made, path)
    with open_table(path) as table:
        [batch] = table.batches
        assert (table.columns, table.schema) == (("id", "text", "tags"), made.schema)
    assert [row.values for row in batch.rows] == made.to_pylist()
    assert batch.native is not None
    assert batch.native.to_pylist() == made.to_pylist()


UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "empty csv": ("in.csv", b"", "is empty; the first line must name the columns"),
    "empty csv with a mark": ("in.csv", b"\xef\xbb\xbf", "is empty; the first line must name the columns"),
    "stray quote in header": ("in.csv", b'"a"b,c\n1,2\n', "the header cannot be read"),
    "a picture": ("in.csv", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00,\x01\n", "does not begin with the names of columns"),
    "duplicate header": ("in.csv", b"text,id,text, id\n", "has more than one column named id, text"),
    "odd utf-16": ("in.csv", b"\xff\xfet\x00e\x00x", "is not utf-16; name its --encoding"),
    "not parquet": ("in.parquet", b"text\na\n", "is not a readable Parquet file"),
    "empty parquet": ("in.parquet", b"", "is not a readable Parquet file"),
    "torn parquet": ("in.parquet", b"PAR1" + b"\x00" * 40 + b"PAR1", "cannot be read: "),
    "unknown ending": ("in.xlsx", b"x", "name it .csv, .tsv, .jsonl or .parquet"),
    "no ending": ("in", b"x", "name it .csv, .tsv, .jsonl or .parquet"),
}


def test_columns_that_a_spreadsheet_left_without_a_name_are_named_by_their_place(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "text,,\na,b,c\n")[0].values == {"text": "a", "": "b", "column_3": "c"}


@pytest.mark.parametrize(("name", "content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_at_all_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        rows_of(tmp_path, content, name)
    assert str(caught.value).startswith(f"{tmp_path / name}: {reason}")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / f"folder.{ending}"
    folder.mkdir()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / f"missing.{ending}")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read(folder)


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="klingon is not an encoding of text; name one such as cp1252"):
        rows_of(tmp_path, "text\na\n", encoding="klingon")


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    with open_table(tmp_path / "in.csv") as table:
        table.require("text")
        with pytest.raises(InputError, match="has no column “body”; its columns are id, text"):
            table.require("body")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00")).filter(bool)


@settings(deadline=None)
@given(st.lists(st.tuples(CELL, CELL)), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_nothing_that_a_csv_writer_wrote_is_lost(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], delimiter: str, end: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text"), *cells])
    path = tmp_path_factory.mktemp("csv") / "in.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    assert read(path)[1] == [Row(n, {"id": a, "text": b}) for n, (a, b) in enumerate(cells, 1)]


LINE = st.one_of(st.just("{"), st.just("[]"), st.text(alphabet='"ab,\\{}', min_size=1), st.just('{"text": "é"}'))


@settings(deadline=None)
@given(st.lists(LINE))
def test_every_line_that_is_not_blank_comes_out_as_one_row(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "in.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    rows = read(path)[1]
    assert [row.number for row in rows] == list(range(1, len(lines) + 1))
    good = ('{"text": "é"}', "{}")
    assert [row.error is None for row in rows] == [line in good for line in lines]


def test_an_error_names_columns_but_not_without_end(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(",".join(f"{'x' * 100}{n}" for n in range(1000)) + "\n")
    with open_table(tmp_path / "in.csv") as table, pytest.raises(InputError, match="and 970 more") as caught:
        table.require("text")
    assert len(str(caught.value)) < 2000
    (tmp_path / "in.jsonl").write_text("")
    with open_table(tmp_path / "in.jsonl") as table, pytest.raises(InputError, match="nor any other"):
        table.require("text")


def test_dates_that_python_cannot_hold_come_as_text(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    columns = {
        "text": ["a", "b"],
        "day": pyarrow.array([19000, 10**7], pyarrow.date32()),
        "moment": pyarrow.array([0, 3 * 10**14], pyarrow.timestamp("ms", tz="Mars/Olympus")),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with open_table(path) as table:
        rows = [row for batch in table.batches for row in batch.rows]
    assert [row.values["text"] for row in rows] == ["a", "b"]
    assert [row.error for row in rows] == [None, None]
    assert rows[0].values["day"] == "2022-01-08"
    assert rows[1].values["moment"].startswith("11476-")


def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    twice = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(InputError, match="more than one column named text"), open_table(path):
        pass


def test_damage_further_down_is_blamed_on_the_file_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = pyarrow.table({"text": [str(n) * 50 for n in range(4000)]})
    pyarrow.parquet.write_table(made, path, row_group_size=1000, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"in\.parquet: is damaged after row"), open_table(path) as table:
        list(table.batches)


def test_what_goes_wrong_while_rows_are_used_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text\na\n", encoding="utf-8")
    with pytest.raises(KeyError), open_table(path):
        raise KeyError("mine")
