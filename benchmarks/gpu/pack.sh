#!/usr/bin/env bash
# Gather in .gpu/ what a machine with a GPU and without a network needs beside this tree: the patched llama.cpp, only
# what compiles for the CPU and CUDA, and the Python packages that such a machine's image lacks. Under 64 MB.
#
#     make sdist && benchmarks/gpu/pack.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${LEDLOCAL_SDIST_DIR:?names the unpacked llama-cpp-python sdist (make sdist)}"
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf .gpu
mkdir -p .gpu/wheels

cp -r "$LEDLOCAL_SDIST_DIR" "$work/llama-cpp-python"
cd "$work/llama-cpp-python"
patch --quiet -p1 -d vendor/llama.cpp < "$OLDPWD/patches/0001-llama-tap.patch"
find vendor/llama.cpp -mindepth 1 -maxdepth 1 ! -name CMakeLists.txt ! -name LICENSE ! -name cmake ! -name include \
    ! -name src ! -name ggml ! -name common ! -name vendor -exec rm -rf {} +
find vendor/llama.cpp/ggml/src -mindepth 1 -maxdepth 1 -type d ! -name ggml-cpu ! -name ggml-cuda -exec rm -rf {} +
rm -rf .git examples docker tests docs
cd "$OLDPWD"
tar -C "$work" -cJf .gpu/llama-cpp-python.tar.xz llama-cpp-python

"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --dest .gpu/wheels \
    gguf diskcache platformdirs prompt_toolkit wcwidth pebble "math-verify==0.9.0" latex2sympy2_extended \
    antlr4-python3-runtime==4.13.2
du -sh .gpu
