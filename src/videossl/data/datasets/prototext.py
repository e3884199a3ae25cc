"""Lists of labels as AVA's authors publish them: protocol buffers in text form."""

from __future__ import annotations

import re
from pathlib import Path

from videossl.data.datasets.lists import lines
from videossl.job import UserError

LABEL = re.compile(r"\s*(?:label|item)\s*\{([^{}]*)\}\s*")
LABEL_ID = re.compile(r"\b(?:label_)?id:\s*(\d+)")
LABEL_NAME = re.compile(r'\bname:\s*"([^"]+)"')


def read_labels(path: Path) -> dict[int, str]:
    """Id -> name of the labels in ``path``.

    Raises:
        UserError: the file is not there, or something else than labels, each id once.
    """
    expected = 'label { name: "bend/bow" label_id: 1 } or item { name: "bend/bow" id: 1 }'
    numbered = dict(lines(path, expected))
    text = "\n".join(numbered.get(number, "") for number in range(1, max(numbered, default=0) + 1))
    found: dict[int, str] = {}
    position = 0
    while position < len(text):
        number = text.count("\n", 0, position) + 1
        label = LABEL.match(text, position)
        fields = label[1] if label else ""
        label_id, name = LABEL_ID.search(fields), LABEL_NAME.search(fields)
        if label is None or label_id is None or name is None:
            raise UserError(f"{path}:{number}: found {numbered[number]!r}; expected {expected}")
        if int(label_id[1]) in found:
            raise UserError(f"{path}:{number}: id {label_id[1]} is listed twice")
        found[int(label_id[1])] = name[1]
        position = label.end()
    if not found:
        raise UserError(f"{path}: found no label; expected {expected}")
    return found
