"""Model and context of llama.cpp: one owner each, explicit lifetime, errors as one line."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime.library import C
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources

Arrayf = NDArray[np.float32]

ContextParams = Any
"""ctypes struct `llama_context_params`."""

_LEVELS = {0: "none", 1: "debug", 2: "info", 3: "warn", 4: "error", 5: "cont"}  # ggml.h, enum ggml_log_level

log_lines: deque[str] = deque(maxlen=200)
"""The library's last warnings and errors."""


def _log(level: int, text: bytes, _user: object) -> None:
    if _LEVELS.get(level) in ("warn", "error"):
        log_lines.append(text.decode("utf-8", "backslashreplace").rstrip())


_log_callback = C.llama_log_callback(_log)
_started = False


def start_backend() -> None:
    """Start llama.cpp once per process, its log kept in `log_lines`."""
    global _started
    if not _started:
        C.llama_log_set(_log_callback, ctypes.c_void_p(0))
        C.llama_backend_init()
        _started = True


def _cause(default: str) -> str:
    """The library's own last word on a failure."""
    lines = [line for line in log_lines if "failed to load model" not in line]
    return lines[-1] if lines else default


class Model:
    """A loaded GGUF model.

    `extra_buffers` lets llama.cpp repack weights for the CPU (see runtime/amx.py). Without `weights` only the header is
    read, and neither the model nor a context on it takes memory: what they would take can be asked (see Footprint).
    """

    def __init__(self, path: Path, gpu_layers: int | None = None, extra_buffers: bool = False,
                 weights: bool = True) -> None:
        start_backend()
        params = C.llama_model_default_params()
        params.use_extra_bufts = extra_buffers
        if not weights:
            params.no_alloc, params.load_mode = True, C.LLAMA_LOAD_MODE_NONE
        if gpu_layers is not None:
            params.n_gpu_layers = gpu_layers
        log_lines.clear()
        self.path = path
        self.handle = C.llama_model_load_from_file(bytes(path), params)
        if not self.handle:
            raise BadInput(f"{path}: llama.cpp cannot load it: {_cause('no reason given')}")
        self.vocab = C.llama_model_get_vocab(self.handle)
        self.n_vocab: int = C.llama_vocab_n_tokens(self.vocab)
        self.n_layer: int = C.llama_model_n_layer(self.handle)
        self.n_embd: int = C.llama_model_n_embd(self.handle)
        self.n_params: int = C.llama_model_n_params(self.handle)
        self.n_swa: int = C.llama_model_n_swa(self.handle)
        self.architecture = self._meta(b"general.architecture")
        self.recurrent = bool(C.llama_model_is_recurrent(self.handle))
        self.hybrid = bool(C.llama_model_is_hybrid(self.handle))

    @property
    def needs_output(self) -> bool:
        """Its graph aborts on a batch without outputs (chameleon's ggml_set_1d on zero rows)."""
        return self.architecture == "chameleon"

    def _meta(self, key: bytes) -> str:
        buffer = ctypes.create_string_buffer(128)
        C.llama_model_meta_val_str(self.handle, key, buffer, len(buffer))
        return buffer.value.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Free the model; every context must be closed before."""
        if self.handle:
            C.llama_model_free(self.handle)
            self.handle = self.vocab = None


class Row(NamedTuple):
    """One token of a batch."""

    token: int
    position: int
    sequence: int
    output: bool


class AbortFlag:
    """Stops a running decode from another thread without Python in the callback.

    llama.cpp polls a C function after every node; libc's strlen of this buffer is 0 until `set` puts a byte there
    (CPU backends only).
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL(None)
        self.callback = ctypes.cast(libc.strlen, C.ggml_abort_callback)
        self.data = ctypes.cast(self._buffer, ctypes.c_void_p)

    def set(self) -> None:
        """Ask the decode in flight to stop."""
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        """Let the next decode run."""
        self._buffer[0] = b"\x00"


class _Batch:
    """A llama_batch of single-sequence tokens over NumPy's memory: a row costs no calls through ctypes."""

    def __init__(self, size: int) -> None:
        self._numbers = np.zeros((3, size), np.int32)  # tokens, positions, sequences
        self._outputs = np.zeros(size, np.int8)
        self._ones = np.ones(size, np.int32)
        self._pointers = self._numbers[2].ctypes.data + self._numbers.itemsize * np.arange(size, dtype=np.uintp)
        self._batch = C.llama_batch()
        for name, array in (("token", self._numbers[0]), ("pos", self._numbers[1]), ("n_seq_id", self._ones),
                            ("seq_id", self._pointers), ("logits", self._outputs)):
            field = dict(C.llama_batch._fields_)[name]
            setattr(self._batch, name, ctypes.cast(array.ctypes.data, field))

    def filled(self, rows: Sequence[Row], tokens: int, sequences: int) -> Any:
        """The struct. Raises ValueError for a token or sequence out of range."""
        n = len(rows)
        numbers = np.fromiter(chain.from_iterable(rows), np.int32, 4 * n).reshape(n, 4).T
        # a negative number is a large one without its sign
        if not (numbers[:3:2].view(np.uint32) < np.array([[tokens], [sequences]], np.uint32)).all():
            raise ValueError(f"a token or a sequence of {list(rows)} is out of range")
        self._numbers[:, :n] = numbers[:3]
        self._outputs[:n] = numbers[3]
        self._batch.n_tokens = n
        return self._batch


class Context:
    """A KV cache and compute buffers on a model."""

    def __init__(self, model: Model, params: ContextParams) -> None:
        self.model = model
        self.abort = AbortFlag()
        self.n_batch: int = params.n_batch
        self.n_seq_max: int = params.n_seq_max
        self.n_threads: int = params.n_threads
        self.unified = bool(params.kv_unified)
        self._params = params
        log_lines.clear()
        self.handle = C.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise OutOfResources(
                f"{model.path}: no context of {params.n_ctx} tokens: {_cause('llama.cpp gave no reason')}")
        self.memory = C.llama_get_memory(self.handle)
        self.n_ctx_seq: int = C.llama_n_ctx_seq(self.handle)
        self._batch = _Batch(params.n_batch)
        C.llama_set_abort_callback(self.handle, self.abort.callback, self.abort.data)

    def close(self) -> None:
        """Free the context; the model stays."""
        if self.handle:
            C.llama_free(self.handle)
            self.handle = self.memory = None

    def decode(self, rows: Sequence[Row]) -> bool:
        """Run the model on a batch; False if `abort` was set meanwhile (the batch left no trace in the KV cache)."""
        if not 0 < len(rows) <= self.n_batch:
            raise ValueError(f"a batch takes 1 to {self.n_batch} tokens, not {len(rows)}")
        batch = self._batch.filled(rows, self.model.n_vocab, self.n_seq_max)
        log_lines.clear()
        status = C.llama_decode(self.handle, batch)
        if status == 2:
            return False
        if status == 1:
            raise OutOfResources(f"no room in the KV cache for {len(rows)} more tokens")
        if status != 0:
            raise LedlocalError(f"llama_decode failed with status {status}: {_cause('no reason given')}")
        return True

    def synchronize(self) -> None:
        """Wait until the last decode is done."""
        C.llama_synchronize(self.handle)

    def logits(self, i: int) -> Arrayf:
        """A copy of the raw logits of batch token i, (V,), as llama.cpp brings them to the host (no sampler set)."""
        pointer = C.llama_get_logits_ith(self.handle, i)
        if not pointer:
            raise LedlocalError(f"no logits for batch token {i}")
        return np.ctypeslib.as_array(pointer, (self.model.n_vocab,)).copy()

    def forget(self, sequence: int, start: int = 0) -> bool:
        """Remove a sequence's cells from position `start` on; False if this kind of memory cannot."""
        return bool(C.llama_memory_seq_rm(self.memory, sequence, start if start else -1, -1))

    def copy_sequence(self, source: int, target: int) -> None:
        """Give `target` the whole memory of `source`."""
        C.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def first_position(self, sequence: int) -> int:
        """Smallest position still in memory, -1 if empty (above 0 once a sliding window has moved on)."""
        return int(C.llama_memory_seq_pos_min(self.memory, sequence))

    def last_position(self, sequence: int) -> int:
        """Largest position in memory, -1 if empty."""
        return int(C.llama_memory_seq_pos_max(self.memory, sequence))


def context_params(n_ctx: int, n_seq: int, n_batch: int, threads: int, unified: bool) -> ContextParams:
    """Parameters of a context with `n_ctx` tokens for each of `n_seq` sequences."""
    params = C.llama_context_default_params()
    params.n_ctx = n_ctx * n_seq
    params.n_seq_max = n_seq
    params.n_batch = params.n_ubatch = max(n_batch, n_seq)
    params.n_outputs_max = n_seq
    params.n_outputs_max_per_seq = 1
    params.n_threads = params.n_threads_batch = threads
    params.kv_unified = unified
    params.no_perf = True
    return params


def release_memory() -> None:
    """Give freed heap pages back to the system (glibc keeps those of a checked vocabulary, several MB)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def now() -> float:
    """Seconds on a clock that only goes forward."""
    return time.perf_counter()
