#!/usr/bin/env bash
# One stage on a machine with an NVIDIA GPU (Python 3.12, nvcc, no network): build | taps | speed SHAPE NAME ARGUMENTS |
# profile SHAPE BATCH | evaluate NAME ARGUMENTS. Each ends within 9 minutes and leaves its results in $OUT. `build` leaves
# the compiled libraries there, too, in parts (lib.*): put into .gpu/ they spare the next machine 5 minutes. `evaluate`
# leaves its run there (run-NAME.*): left on the machine, or put into .gpu/, the same command goes on with it. It exits
# with 4 while there is more to do.
#
#     benchmarks/gpu/stage.sh build && benchmarks/gpu/stage.sh taps
#     benchmarks/gpu/stage.sh speed qwen3-4b h100 --batch 1,128
#
# CUDA=off rehearses everything on the CPU; LIMIT: seconds after which a stage puts together what it has.
set -euo pipefail
limit=${LIMIT:-480}
[ -n "${ON_THE_CLOCK:-}" ] || ON_THE_CLOCK=yes exec timeout -k 10 $((limit + 50)) "$0" "$@"
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

# Seconds of the first N of this stage that are left, at least 1: timeout takes 0 for no limit
left() { echo $(($1 > SECONDS ? $1 - SECONDS : 1)); }

# SHAPE NAME and the arguments of `ledlocal bench`, which shows what it has when the time is over
speed() {
    shape=$1 name=$2
    shift 2
    model "$shape"
    timeout -s INT "$(left "$limit")" ledlocal bench "$work/$shape.gguf" "$@" --out "$OUT/bench-$name.json" | tee "$OUT/bench-$name.txt" ||
        [ "${PIPESTATUS[0]}" = 124 ]
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

# NAME and the arguments of `ledlocal eval`: $SHARDS (8) shards side by side on one GPU, and when all are done their merge
evaluate() {
    name=$1 runs=$work/runs
    shift
    mkdir -p "$runs"
    if [ ! -e "$runs/$name" ] && [ ! -e "$runs/$name-1" ] && compgen -G ".gpu/run-$name.*" > /dev/null; then
        cat ".gpu/run-$name."* | tar -C "$runs" -xJ
    fi
    parts=()
    for i in $(seq "${SHARDS:-8}"); do parts+=("$name-$i"); done
    [ -e "$runs/$name/run.toml" ] || shards "$@" || { code=$?; keep "${parts[@]}"; return $code; }
    [ -e "$runs/$name/run.toml" ] || (cd "$runs" && ledlocal merge "$name" "${parts[@]}")
    keep "$name"
    ledlocal compare "$runs/$name" | tee "$OUT/compare-$name.txt"
}

# Runs $parts; 1 if one failed, 4 if one is not done yet. A last eighth of the time is for what follows.
shards() {
    running=() failed='' late=''
    for i in "${!parts[@]}"; do
        timeout -k 20 "$(left $((limit * 7 / 8)))" ledlocal eval "$@" --shard "$((i + 1))/${#parts[@]}" \
            --out "$runs/${parts[i]}" -t 1 > "$runs/${parts[i]}.log" 2>&1 &
        running+=($!)
    done
    for i in "${!parts[@]}"; do
        code=0
        wait "${running[i]}" || code=$?
        [ "$code" != 124 ] || late+=" ${parts[i]}"
        [ "$code" = 0 ] || [ "$code" = 124 ] || failed+=" ${parts[i]}"
        echo "${parts[i]}: exit $code: $(tail -n 1 "$runs/${parts[i]}.log")"
    done
    [ -z "$failed" ] || { echo "failed:$failed"; return 1; }
    [ -z "$late" ] || { echo "not done:$late; the same command goes on"; return 4; }
}

# What there is of these runs into $OUT, in parts
keep() {
    there=()
    for run in "$@"; do [ ! -e "$runs/$run" ] || there+=("$run"); done
    [ "${#there[@]}" = 0 ] || tar -C "$runs" -c "${there[@]}" | xz -T0 | split -b 15M -d - "$OUT/run-$name."
}

"$@"
