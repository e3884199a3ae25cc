#!/usr/bin/env bash
# What a GPU can tell in eight minutes, on a bare machine: Linux, Python with torch, no network.
#   benchmarks/gpu.sh [--wheels FOLDER] [--device cpu --quick] [--minutes N] [--out FILE]
# FOLDER is what benchmarks/gpu_wheels.sh downloaded; without it the environment has all that is
# needed. Nothing is installed into that of torch. Figures: gpu.jsonl, line by line as they come.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
wheels=() rest=()
while (($#)); do
    case $1 in
        --wheels) wheels=("$2") && shift ;;
        *) rest+=("$1") ;;
    esac
    shift
done
python=${PYTHON:-python3}
[[ -n ${PYTHON:-} || ! -x $here/.venv/bin/python ]] || python=$here/.venv/bin/python
if ((${#wheels[@]})); then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --target "$site" \
        "${wheels[0]}"/*.whl
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$here/src:$here/tests${PYTHONPATH:+:$PYTHONPATH}
"$python" "$here/benchmarks/gpu.py" "${rest[@]}"
