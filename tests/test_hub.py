"""Models from the Hugging Face hub: the real command and huggingface_hub against a hub on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub

from ledlocal.models import DEMO
from ledlocal.stores import hub as store

REPO = "someone/Thinker-GGUF"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    model = DEMO.read_bytes()
    served.repositories[REPO] = {
        "README.md": b"#", "mmproj-F16.gguf": b"x", "Thinker-Q4_K_M.gguf": model, "Thinker-Q8_0.gguf": model + b"8",
        "big/Thinker-BF16-00001-of-00002.gguf": b"one", "big/Thinker-BF16-00002-of-00002.gguf": b"two"}
    yield served
    served.close()


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    def call(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_DISABLE_TELEMETRY": "1", **environ}
        for name in ("HF_TOKEN", "LLAMA_CACHE", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            if name not in environ:
                env.pop(name, None)
        return subprocess.run([sys.executable, "-P", "-m", "ledlocal", *args], capture_output=True, text=True, env=env,
                              check=False, stdin=subprocess.DEVNULL)

    return call


def cached(tmp_path: Path) -> Path:
    return tmp_path / "hf" / "hub" / "models--someone--Thinker-GGUF" / "snapshots" / COMMIT


def test_a_model_is_fetched_once_and_then_found_without_the_network(run: Run, hub: Hub, tmp_path: Path) -> None:
    done = run("models", "path", REPO)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == cached(tmp_path) / "Thinker-Q4_K_M.gguf"
    hub.asked.clear()
    for name in (REPO, f"{REPO}:q4_k_m"):
        assert run("models", "path", name).stdout == done.stdout
        assert run("models", "path", name, "--offline").stdout == done.stdout
    assert not hub.asked
    rows = json.loads(run("models", "ls", "--json").stdout)
    assert [(row["name"], row["origin"]) for row in rows] == [("demo", "embedded"), (f"{REPO}:Q4_K_M", "HF cache")]
    answer = run("chat", REPO, "Use 3, 7 and 12 to make 33.", "-n", "4", "-t", "1")
    assert answer.returncode == 0
    assert "model     Thinker-Q4_K_M.gguf (HF cache, 2.7 MB)" in answer.stderr
    assert not hub.asked


def test_quants_and_split_models(run: Run, hub: Hub, tmp_path: Path) -> None:
    assert run("models", "path", f"{REPO}:Q8_0").stdout.strip().endswith("Thinker-Q8_0.gguf")
    assert run("models", "pull", f"{REPO}:bf16").stdout.strip() == str(
        cached(tmp_path) / "big" / "Thinker-BF16-00001-of-00002.gguf")
    assert (cached(tmp_path) / "big" / "Thinker-BF16-00002-of-00002.gguf").read_bytes() == b"two"
    done = run("models", "path", f"{REPO}:Q5_K_S")
    assert done.returncode == 2
    assert done.stderr == f"ledlocal: {REPO} has no Q5_K_S; it has BF16, Q4_K_M, Q8_0\n"


def test_an_interrupted_download_goes_on(run: Run, hub: Hub) -> None:
    whole = DEMO.read_bytes() * 10
    hub.repositories[REPO]["Thinker-Q4_K_M.gguf"] = whole
    hub.cut["Thinker-Q4_K_M.gguf"] = 21 << 20  # the library writes pieces of 10 MiB
    done = run("models", "pull", REPO)
    assert done.returncode == 0
    assert Path(done.stdout.strip()).read_bytes() == whole
    assert [asked for method, path, asked in hub.asked if method == "GET" and "/resolve/" in path] == [
        "", f"bytes={20 << 20}-"]


def test_a_download_that_was_stopped_goes_on_with_the_next_command(run: Run, hub: Hub, tmp_path: Path) -> None:
    whole = DEMO.read_bytes() * 10
    hub.repositories[REPO]["Thinker-Q4_K_M.gguf"] = whole
    hub.hold["Thinker-Q4_K_M.gguf"] = 21 << 20
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    with subprocess.Popen([sys.executable, "-P", "-m", "ledlocal", "models", "pull", REPO], env=env,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as stopped:
        assert hub.held.wait(20)
        time.sleep(0.5)
        stopped.send_signal(signal.SIGINT)
        assert stopped.wait(10) == 130
    hub.asked.clear()
    done = run("models", "pull", REPO)
    assert done.returncode == 0 and Path(done.stdout.strip()).read_bytes() == whole
    [asked] = [asked for method, path, asked in hub.asked if method == "GET" and "/resolve/" in path]
    assert asked == f"bytes={20 << 20}-"


@pytest.mark.parametrize(("repo", "code", "said"), [
    ("nobody/nothing", 2, "nobody/nothing: the hub has no such repository, or a private one"),
    ("someone/Gated", 2, "someone/Gated is gated: accept its terms on its page"),
    ("someone/Words", 2, "someone/Words holds no GGUF model"),
])
def test_what_the_hub_refuses_is_one_line(run: Run, hub: Hub, repo: str, code: int, said: str) -> None:
    hub.repositories["someone/Gated"] = {"G-Q4_K_M.gguf": b"x"}
    hub.gated.add("someone/Gated")
    hub.repositories["someone/Words"] = {"README.md": b"x"}
    done = run("chat", repo, "hi")
    assert done.returncode == code
    assert done.stderr.startswith(f"ledlocal: {said}") and done.stderr.count("\n") == 1


def test_offline_without_the_model(run: Run, hub: Hub) -> None:
    for options, environ in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"}), ([], {"LEDLOCAL_OFFLINE": "1"})):
        done = run("models", "path", REPO, *options, **environ)
        assert done.returncode == 2 and "the network is not asked (offline)" in done.stderr
    assert not hub.asked


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir(mode=0o500)
    done = run("models", "pull", REPO)
    assert done.returncode == 4 and str(tmp_path / "hf") in done.stderr


def test_models_are_removed(run: Run, tmp_path: Path) -> None:
    for quant in ("Q4_K_M", "BF16"):
        run("models", "pull", f"{REPO}:{quant}")
    asked = run("models", "rm", REPO)
    assert asked.returncode == 2 and "is kept; -y deletes it" in asked.stderr
    done = run("models", "rm", f"{REPO}:BF16", "-y")
    assert (done.returncode, done.stdout) == (0, "0.0 MB are free again\n")
    assert run("models", "rm", REPO, "-y").stdout == "2.7 MB are free again\n"
    assert not list((tmp_path / "hf").rglob("*.gguf"))
    assert not [blob for blob in (tmp_path / "hf").rglob("blobs/*") if blob.is_file()]
    assert run("models", "rm", "demo", "-y").returncode == 2


def test_the_cache_is_where_the_library_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for environ in ({}, {"HF_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {"HF_HUB_CACHE": "/c", "HF_HOME": "/a"},
                    {"HUGGINGFACE_HUB_CACHE": "/d"}):
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("HF_", "HUGGINGFACE")) and name != "XDG_CACHE_HOME"} | environ
        script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=clean,
                                check=True).stdout.strip()
        assert str(store.cache_folder(clean)) == theirs
    assert store.cache_folder({"LLAMA_CACHE": str(tmp_path), "HF_HOME": "/a"}) == tmp_path


def test_a_hub_that_takes_the_call_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # huggingface_hub reads its endpoint when it is imported
        script = ("from ledlocal.stores import hub\nfrom ledlocal.values.errors import LedlocalError\n"
                  "hub.TIMEOUT_S = 0.3\ntry:\n    hub.fetch('a/b', '')\n"
                  "except LedlocalError as error:\n    print(error)")
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "HF_ENDPOINT": endpoint}, timeout=30,
                              capture_output=True, text=True, check=True)
    assert done.stdout.startswith("a/b: no connection to the hub (")


def test_pull_keeps_off_the_network_when_told_so(run: Run, hub: Hub) -> None:
    for options, environ in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"}), ([], {"LEDLOCAL_OFFLINE": "1"})):
        done = run("models", "pull", REPO, *options, **environ)
        assert (done.returncode, done.stderr) == (
            2, f"ledlocal: {REPO} is not pulled: the network is not asked (offline)\n")
    assert hub.asked == []


def test_a_name_that_is_too_long_is_one_line(run: Run, hub: Hub) -> None:
    done = run("models", "info", f"a/{'b' * 300}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
