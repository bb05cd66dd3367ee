#!/usr/bin/env bash
# One stage on a machine with an NVIDIA GPU (Python 3.12, nvcc, no network): build | taps | speed SHAPE NAME ARGUMENTS |
# profile SHAPE BATCH | evaluate NAME ARGUMENTS. Each takes under 9 minutes and leaves its results in $OUT. `build` leaves
# the compiled libraries there, too, in parts (lib.*): put into .gpu/ they spare the next machine 5 minutes.
#
#     benchmarks/gpu/stage.sh build && benchmarks/gpu/stage.sh taps
#     benchmarks/gpu/stage.sh speed qwen3-4b h100 --batch 1,128
#
# CUDA=off rehearses everything on the CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${OUT:?names the folder for results}"
work=${WORK:-/var/tmp/ledlocal-gpu}
mkdir -p "$work"
export PYTHONUNBUFFERED=1 LEDLOCAL_LIBRARY=stock  # the patched library is the installed one
# some images link libstdc++ into every library; mixed with a shared one of NCCL's, that crashes at the first stream
shared=$(g++ -print-file-name=libstdc++.so.6)
[ "${CUDA:-on}" = off ] || [ ! -e "$shared" ] || export LD_PRELOAD=$shared

wheel() {
    [ -d "$work/llama-cpp-python" ] || tar -C "$work" -xJf .gpu/llama-cpp-python.tar.xz
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) CMAKE_ARGS=$1 python3 -m pip wheel --quiet --no-index --no-deps \
        --no-build-isolation --wheel-dir "$work/built" "$work/llama-cpp-python"
}

build() {
    python3 -m pip install --quiet --no-index --no-deps .gpu/wheels/*.whl
    python3 -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .
    if compgen -G '.gpu/lib.*' > /dev/null; then
        wheel "-DLLAMA_BUILD=off -DLLAVA_BUILD=off"
    else
        wheel "-DGGML_CUDA=${CUDA:-on} -DCMAKE_CUDA_ARCHITECTURES=${ARCH:-90} -DLLAVA_BUILD=off"
    fi
    python3 -m pip install --quiet --no-index --no-deps --force-reinstall "$work"/built/*.whl
    lib=$(python3 -c 'from ledlocal.runtime.install import stock_folder; print(stock_folder())')
    if compgen -G '.gpu/lib.*' > /dev/null; then
        mkdir -p "$lib"
        cat .gpu/lib.* | tar -C "$lib" -xJ
    else
        (cd "$lib" && tar -ch libllama.so libggml*.so.0 | xz -T0) | split -b 15M -d - "$OUT/lib."
    fi
    ledlocal doctor | tee "$OUT/doctor.txt"
}

# What needs bit-equal rows, or a NaN that stays in its row, holds on the CPU alone and is skipped.
taps() {
    lib=$(python3 -c 'from ledlocal.runtime.install import stock_folder; print(stock_folder())')
    LEDLOCAL_TEST_NATIVE=$lib \
        python3 -m pytest -p no:benchmark -n "$(nproc)" --dist worksteal tests/test_taps.py tests/test_tap_choice.py \
        tests/test_native_tap.py tests/test_product.py tests/test_engine.py tests/test_engine_phases.py \
        tests/test_engine_slots.py tests/test_engine_continues.py tests/test_kv_cache.py \
        > "$OUT/taps.txt" 2>&1 || failed=1
    grep -E "^(FAILED|ERROR)|passed|failed" "$OUT/taps.txt"
    [ -z "${failed:-}" ]
}

model() {
    [ -f "$work/$1.gguf" ] || {
        python3 benchmarks/synthetic_model.py "$1" "$work/$1.part"
        mv "$work/$1.part" "$work/$1.gguf"
    }
}

# SHAPE NAME and the arguments of `ledlocal bench`, which shows what it has after $LIMIT seconds
speed() {
    shape=$1 name=$2
    shift 2
    model "$shape"
    timeout -s INT "${LIMIT:-480}" ledlocal bench "$work/$shape.gguf" "$@" --out "$OUT/bench-$name.json" | tee "$OUT/bench-$name.txt" ||
        [ "${PIPESTATUS[0]}" = 124 ]  # $LIMIT seconds were over
}

# SHAPE BATCH: what our own Python takes of a step, and where
profile() {
    model "$1"
    for method in standard led; do
        python3 benchmarks/python_per_step.py "$work/$1.gguf" --batch "$2" --method $method --coin 0.07 --detail none
        python3 -m cProfile -s tottime benchmarks/python_per_step.py "$work/$1.gguf" --batch "$2" --method $method \
            --coin 0.07 --detail none | head -50
    done | tee "$OUT/profile-$1-$2.txt"
}

# NAME and the arguments of `ledlocal eval`: shards side by side on one GPU, resumed if they are there already
evaluate() {
    name=$1 shards=${SHARDS:-8}
    shift
    mkdir -p "$work/runs"
    for i in $(seq "$shards"); do
        ledlocal eval "$@" --shard "$i/$shards" --out "$work/runs/$name-$i" -t 1 > "$work/runs/$name-$i.log" 2>&1 &
    done
    wait
    tail -qn 1 "$work/runs/$name"-*.log | sort | uniq -c
    ledlocal merge "$work/runs/$name" "$work/runs/$name"-*/ && ledlocal compare "$work/runs/$name"
    tar -C "$work/runs" -c "$name" | xz -T0 | split -b 15M -d - "$OUT/run-$name."
}

"$@"
