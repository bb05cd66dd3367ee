"""The paper's benchmark files: the real command against a server on this machine."""

from __future__ import annotations

import hashlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from data_server import DataServer

from ledlocal import cli
from ledlocal.evals import dataset
from ledlocal.evals.benchmark import PUBLISHED, Benchmark, Published
from ledlocal.values.errors import BadInput, LedlocalError

GOOD = json.dumps([{"prompt": [{"from": "user", "value": f"{i}+1?"}], "final_answer": str(i + 1)} for i in range(3)],
                  indent=4).encode()
ELSEWHERE = "; a copy from elsewhere is taken with --data FILE\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are kept; two benchmarks are published, and are GOOD."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in list(PUBLISHED):
        monkeypatch.delitem(PUBLISHED, name)
    for name in ("gsm8k", "math500"):
        monkeypatch.setitem(PUBLISHED, name, Published(hashlib.sha256(GOOD).hexdigest()))
    return tmp_path / "cache" / "ledlocal" / "data"


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataServer]:
    served = DataServer()
    served.files = {"/gsm8k.json": GOOD, "/math500.json": GOOD}
    monkeypatch.setattr(dataset, "SOURCE", served.url)
    yield served
    served.close()


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["data", *args], prog_name="ledlocal")


def test_a_file_is_fetched_once(server: DataServer, folder: Path) -> None:
    path = folder / "gsm8k.json"
    for _ in range(2):
        done = run("pull", "gsm8k")
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{path}\n", "")
    assert server.asked == ["/gsm8k.json"]
    assert path.read_bytes() == GOOD and list(folder.iterdir()) == [path]
    assert run("pull", "gsm8k", "--offline").stdout == f"{path}\n"
    assert dataset.path_of("gsm8k") == path
    assert [problem.gold for problem in Benchmark("gsm8k", path).problems()] == ["1", "2", "3"]


def test_without_a_name_all_are_fetched_and_listed(server: DataServer, folder: Path) -> None:
    assert run("pull").stdout == f"{folder / 'gsm8k.json'}\n{folder / 'math500.json'}\n"
    (folder / "math500.json").write_bytes(GOOD[:-1] + b"}")
    (folder / "gsm8k.json").unlink()
    run("pull", "gsm8k")
    assert json.loads(run("ls", "--json").stdout) == [
        {"name": "gsm8k", "kind": "mathematics", "problems": 3, "state": "cached", "size": len(GOOD),
         "path": str(folder / "gsm8k.json")},
        {"name": "math500", "kind": "mathematics", "problems": None, "state": "damaged", "size": None,
         "path": str(folder / "math500.json")}]
    assert run("ls", "gsm8k").stdout.split() == ["gsm8k", "mathematics", "3", "cached", "0.0", "MB",
                                                 str(folder / "gsm8k.json")]


def test_nothing_is_there(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"^gsm8k is not fetched: ledlocal data pull gsm8k, or --data FILE$"):
        dataset.path_of("gsm8k")
    assert [row["state"] for row in json.loads(run("ls", "--json").stdout)] == ["not fetched"] * 2
    assert (run("verify").exit_code, run("verify").output) == (0, "")
    done = run("verify", "gsm8k")
    assert (done.exit_code, done.stderr) == (2, "ledlocal: gsm8k: not fetched; ledlocal data pull gsm8k\n")
    assert not folder.exists()


def test_a_damaged_file_is_noticed_and_fetched_again(server: DataServer, folder: Path) -> None:
    run("pull")
    assert run("verify").exit_code == 0
    (folder / "gsm8k.json").write_bytes(GOOD[:-1])
    done = run("verify")
    assert (done.exit_code, done.stderr) == (1, "ledlocal: gsm8k: damaged; ledlocal data pull gsm8k\n")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["gsm8k", "damaged"], ["math500", "cached"]]
    with pytest.raises(BadInput, match="gsm8k is damaged: ledlocal data pull gsm8k"):
        dataset.path_of("gsm8k")
    assert run("pull").exit_code == 0 and run("verify").exit_code == 0
    assert server.asked == ["/gsm8k.json", "/math500.json", "/gsm8k.json"]


def test_another_file_is_not_taken(server: DataServer, folder: Path) -> None:
    server.files["/gsm8k.json"] = GOOD + b"\n"
    done = run("pull", "gsm8k")
    other, right = (hashlib.sha256(data).hexdigest() for data in (GOOD + b"\n", GOOD))
    assert (done.exit_code, done.stderr) == (
        2, f"ledlocal: {server.url}/gsm8k.json: this is not gsm8k as published: its SHA-256 is {other}, not {right}\n")
    assert not folder.exists()


def test_a_connection_that_is_cut_leaves_nothing(server: DataServer, folder: Path) -> None:
    server.cut = 100
    done = run("pull", "gsm8k")
    reason = f"the connection ended after 100 of {len(GOOD)} bytes"
    assert (done.exit_code, done.stderr) == (
        1, f"ledlocal: gsm8k is not fetched: {server.url}/gsm8k.json: {reason}" + ELSEWHERE)
    assert not folder.exists()
    server.cut = None
    assert run("pull", "gsm8k").exit_code == 0


def test_what_the_server_has_not(server: DataServer, folder: Path) -> None:
    del server.files["/gsm8k.json"]
    done = run("pull", "gsm8k")
    assert (done.exit_code, done.stderr) == (
        1, f"ledlocal: gsm8k is not fetched: {server.url}/gsm8k.json: the server answers 404 Not Found" + ELSEWHERE)


def test_a_file_that_has_moved(server: DataServer, folder: Path) -> None:
    server.moved["/gsm8k.json"] = f"{server.url}/math500.json"
    assert run("pull", "gsm8k").exit_code == 0
    assert server.asked == ["/gsm8k.json", "/math500.json"]


def test_a_file_without_end(server: DataServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/gsm8k.json"] = b"x" * ((64 << 20) + 1)
    done = run("pull", "gsm8k")
    assert (done.exit_code, done.stderr) == (
        2, f"ledlocal: {server.url}/gsm8k.json has more than {64 << 20} bytes\n")


def test_no_server(server: DataServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(dataset, "SOURCE", f"http://127.0.0.1:{unused.getsockname()[1]}")
        done = run("pull", "gsm8k")
    assert (done.exit_code, done.stderr) == (
        1, f"ledlocal: gsm8k is not fetched: {dataset.SOURCE}/gsm8k.json: no connection "
        "([Errno 111] Connection refused)" + ELSEWHERE)


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(dataset, "SOURCE", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LedlocalError, match=r"no connection \(timed out\)"):
            dataset.fetch("gsm8k")


@pytest.mark.parametrize(("options", "variable"), [
    (["--offline"], None), ([], "LEDLOCAL_OFFLINE"), ([], "HF_HUB_OFFLINE")])
def test_offline(server: DataServer, monkeypatch: pytest.MonkeyPatch, options: list[str], variable: str | None) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    done = run("pull", "gsm8k", *options)
    assert (done.exit_code, done.stderr) == (
        2, "ledlocal: gsm8k is not fetched, and the network is not asked (offline)\n")
    assert not server.asked


@pytest.mark.parametrize("command", ["ls", "pull", "verify"])
def test_what_the_paper_has_not(command: str, server: DataServer) -> None:
    done = run(command, "gsm9k")
    assert (done.exit_code, done.stderr) == (
        2, "ledlocal: gsm9k: no benchmark of the paper; there are gsm8k, math500\n")
    assert not server.asked


def test_a_cache_that_cannot_be_written(folder: Path) -> None:
    folder.parent.parent.mkdir()
    folder.parent.write_text("a file where the folder would be")
    done = run("pull", "gsm8k")
    assert (done.exit_code, done.stderr) == (4, f"ledlocal: cannot write {folder / 'gsm8k.json'}: Not a directory\n")


def test_a_full_disk_keeps_no_half_file(server: DataServer, folder: Path) -> None:
    """A limit on the size of files stands in for it: what fits is written, the rest fails."""
    script = ("from ledlocal.cli import main\nfrom ledlocal.evals import benchmark, dataset\n"
              f"dataset.SOURCE = {server.url!r}\n"
              f"benchmark.PUBLISHED['gsm8k'] = benchmark.Published({hashlib.sha256(GOOD).hexdigest()!r})\n"
              "main(['data', 'pull', 'gsm8k'], prog_name='ledlocal')")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    assert (done.returncode, done.stderr) == (4, f"ledlocal: cannot write {folder / 'gsm8k.json'}: File too large\n")
    assert list(folder.iterdir()) == []


def test_names_are_completed() -> None:
    from click.shell_completion import ShellComplete

    offered = ShellComplete(cli.main, {}, "ledlocal", "_LEDLOCAL_COMPLETE").get_completions(["data", "pull"], "g")
    assert [item.value for item in offered] == ["gsm8k"]
