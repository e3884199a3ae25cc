#!/usr/bin/env bash
# The wheels that benchmarks/gpu.sh needs beside torch, for another machine without a network.
#   benchmarks/gpu_wheels.sh [FOLDER] [PYTHON VERSION]     # default: wheels, 3.12
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-wheels} version=${2:-3.12}
python=.venv/bin/python
[[ -x $python ]] || python=python3
# what pretraining and its tests import; no decoders, no engines
packages=(
    numpy pydantic pydantic-core annotated-types typing-inspection typing-extensions
    lmdb simplejpeg safetensors tqdm ruamel.yaml kornia kornia-rs
    pytest pluggy iniconfig packaging pygments hypothesis sortedcontainers psutil
)
mkdir -p "$folder"
"$python" -m pip download -q --disable-pip-version-check --dest "$folder" -c constraints.txt \
    --only-binary :all: --no-deps --python-version "$version" --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "${packages[@]}"
du -sh "$folder"
