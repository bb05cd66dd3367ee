"""Traces: what is written, what is read back, what is printed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import token
from hypothesis import given
from hypothesis import strategies as st

from ledlocal import trace
from ledlocal.terminal import Screen
from ledlocal.trace import TraceWriter, from_record, print_trace, read_trace, replies_of, save_trace, to_record
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.events import Candidates, Token

PROJECTED = Candidates((5, 9), ("So", " Wait\x1b"), (4, 2), ((0.5, 0.25), (0.125, 0.75)), (0.6, 0.7))
NOT_PROJECTED = Candidates((5, 9), ("So", "a"), (4, 2), ((0.5, 0.25),), (0.6,))


def test_projected_record() -> None:
    assert to_record(token("So", "thinking", i=3, explored=True, changed=True, candidates=PROJECTED)) == {
        "i": 3, "id": 7, "text": "So", "phase": "thinking", "confidence": 0.75, "candidates": (5, 9),
        "texts": ("So", " Wait\x1b"), "layers": (4, 2), "final": (0.5, 0.25),
        "posteriors": ((0.5, 0.25), (0.125, 0.75)), "entropy": [0.6, 0.7], "depth": 2, "explored": True,
        "changed": True, "u": (0.25, 0.5), "marker": False, "forced": False, "final_entropy": 0.5}


def test_records_without_projection() -> None:
    record = to_record(token("So", candidates=NOT_PROJECTED))
    assert (record["final"], record["posteriors"], record["entropy"]) == ((0.5, 0.25), None, [0.6, None])
    record = to_record(token("So"))
    assert all(record[key] is None for key in ("candidates", "layers", "final", "posteriors", "entropy", "depth"))


probabilities = st.floats(0, 1)


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    k, d = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    rows = draw(st.sampled_from([1, d]))
    row = st.tuples(*[probabilities] * k)
    candidates = Candidates(
        draw(st.tuples(*[st.integers(0, 2**31)] * k)), draw(st.tuples(*[st.text()] * k)), tuple(range(d, 0, -1)),
        draw(st.tuples(*[row] * rows)), draw(st.tuples(*[probabilities] * rows)))
    return Token(0, 0, draw(st.integers(0, 10**6)), draw(st.integers(0, 2**31)), draw(st.text()),
                 draw(st.sampled_from(["thinking", "answer"])), draw(st.booleans()), draw(st.booleans()),
                 draw(probabilities), draw(st.floats(0, 12)), draw(st.booleans()), draw(st.booleans()),
                 draw(st.none() | st.integers(0, 3)), draw(st.tuples(probabilities, probabilities)),
                 draw(st.none() | st.just(candidates)))


@given(tokens())
def test_round_trip(original: Token) -> None:
    line = json.dumps(to_record(original), ensure_ascii=True, allow_nan=False)
    assert from_record(json.loads(line)) == original


def written(path: Path, *given: Token) -> Path:
    writer = TraceWriter(path)
    for t in given:
        writer.write(t)
    writer.sync()
    writer.close()
    return path


def test_file(tmp_path: Path) -> None:
    given = [token("é\n", "thinking", i=0, candidates=PROJECTED), token("", i=1)]
    path = written(tmp_path / "t.jsonl", *given)
    assert path.read_bytes().isascii() and path.read_text().count("\n") == 2
    assert [(t.text, t.i, t.candidates) for t in read_trace(path)] == [("é\n", 0, PROJECTED), ("", 1, None)]


def test_nothing_is_overwritten_and_nothing_empty_stays(tmp_path: Path) -> None:
    path = written(tmp_path / "t", token("x"))
    with pytest.raises(BadInput, match="t: the file exists"):
        TraceWriter(path)
    assert len(path.read_text().splitlines()) == 1
    assert not written(tmp_path / "empty").exists()
    with pytest.raises(BadInput, match="No such file"):
        TraceWriter(tmp_path / "no" / "t")


@pytest.mark.parametrize("damage", [
    b'{"i": 1', b"[]", b"3", b"\xff\xfe", b"{}", b'"text"', b"[" * 100_000, b"null", b"",
])
def test_damage_names_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = written(tmp_path / "t.jsonl", token("x"), token("y", i=1))
    path.write_bytes(path.read_bytes() + damage + b"\n")
    with pytest.raises(BadInput, match=r"t\.jsonl, line 3: not a trace"):
        list(read_trace(path))


@pytest.mark.parametrize(("key", "value"), [
    ("i", "x"), ("phase", "dream"), ("u", [1]), ("u", None), ("confidence", None), ("candidates", 3),
    ("candidates", [1]), ("texts", None), ("posteriors", [[1], [2]]), ("entropy", 1),
    ("entropy", [0.5]), ("layers", [4]), ("i", float("inf")), ("confidence", float("nan")),
    ("posteriors", [[1, 1], [float("inf"), 0]]), ("u", [0.5, float("-inf")]), ("candidates", []),
])
def test_wrong_values_are_damage(tmp_path: Path, key: str, value: object) -> None:
    record = to_record(token("x", candidates=PROJECTED)) | {key: value}
    path = tmp_path / "t"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(BadInput, match="t, line 1: not a trace"):
        list(read_trace(path))


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", token("x"), token("y", i=1))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        assert [one.text for one in read_trace(path)] == ["x"]


@pytest.mark.parametrize("text", ["hello", '{"i": 0', "{}"])
def test_a_file_of_one_torn_line_is_no_trace(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(BadInput, match="an empty trace"):
        list(read_trace(tmp_path / "t"))


def test_no_trace_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, said in ((tmp_path / "empty", "an empty trace"), (tmp_path, "directory"), (tmp_path / "no", "No such")):
        with pytest.raises(BadInput, match=said):
            list(read_trace(path))


def test_a_reply_begins_where_the_positions_do_not_go_on(tmp_path: Path) -> None:
    given = [token(str(n), i=i) for n, i in enumerate((0, 1, 2, 0, 1, 7, 8, 0))]
    assert [[one.text for one in reply] for reply in replies_of(given)] == [
        ["0", "1", "2"], ["3", "4"], ["5", "6"], ["7"]]
    assert replies_of([]) == []
    stream = io.StringIO()
    print_trace(written(tmp_path / "t", *given), Screen(stream))
    assert sum("candidates of the final layer" in line for line in stream.getvalue().splitlines()) == 4


def test_a_saved_trace_has_a_new_name_and_the_same_tokens(tmp_path: Path) -> None:
    given = [replace(token(" é\ud800", "thinking", i, candidates=PROJECTED), request=0) for i in range(3)]
    paths = [save_trace(given, tmp_path) for _ in range(3)]
    assert len(set(paths)) == 3 and all(path.parent == tmp_path and path.suffix == ".jsonl" for path in paths)
    assert [list(read_trace(path)) for path in paths] == [given] * 3


def test_a_trace_that_cannot_be_saved_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: TraceWriter) -> None:
        raise OutOfResources("the disk is full")

    monkeypatch.setattr(trace.TraceWriter, "sync", full)
    with pytest.raises(OutOfResources, match="full"):
        save_trace([token("x")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="No such file"):
        save_trace([token("x")], tmp_path / "no")


def test_layers(tmp_path: Path) -> None:
    given = [token("So", "thinking", candidates=NOT_PROJECTED),
             replace(token("Wait", "thinking", explored=True, candidates=PROJECTED), depth=1)]
    path, stream = written(tmp_path / "t", *given), io.StringIO()
    print_trace(path, Screen(stream), layers=True)
    assert [line.strip() for line in stream.getvalue().splitlines() if line.strip().startswith("layer")] == [
        "layer 4    0.500 0.250   mixture's entropy 0.600",
        "layer 2    0.125 0.750   mixture's entropy 0.700   largest: drawn from this mixture"]


def test_table(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t", token("", "thinking", i=0, marker=True),
        token(" So", "thinking", i=1, explored=True, changed=True, candidates=PROJECTED),
        token("a\x1b\n", "thinking", i=2, explored=True, candidates=NOT_PROJECTED), token("13", i=3))
    stream = io.StringIO()
    print_trace(path, Screen(stream))
    assert stream.getvalue() == (
        "     i  token              phase      conf    depth  candidates of the final layer\n"
        '     0  (marker)           thinking  0.750\n'
        '     1  " So"              thinking  0.750  •     2  "So" 0.500  " Wait\\u001b" 0.250\n'
        '     2  "a\\u001b\\n"        thinking  0.750  ◦     2  "So" 0.500  "a" 0.250\n'
        '     3  "13"               answer    0.750\n'
        "\n"
        "3 thinking + 1 answer tokens, mean confidence of all tokens 0.750\n"
        "explored 2, changed 1\n"
        "depth   explored tokens whose distribution mixes the final layer and that many others\n"
        "    0        0 \n"
        "    1        0 \n"
        "    2        2 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇\n"
        "◦ explored, same token   • explored, another token\n")
