"""The blocks of ``params.yaml``: which keys exist, their types and what they may hold.

These classes only accept or reject: no defaults, no derived values, nothing that changes a value.
That is why this package does not count as code of a stage (see ``stages.py``): what a stage sees is
exactly the values of ``params.yaml``, and the values are in its fingerprint. A test holds this.
What each key means to a reader is said once, beside its value in ``params.yaml``.
"""

from videossl.study.schema.blocks import *  # noqa: F403
from videossl.study.schema.data import *  # noqa: F403
from videossl.study.schema.downstream import *  # noqa: F403
from videossl.study.schema.methods import *  # noqa: F403
from videossl.study.schema.study import *  # noqa: F403
from videossl.study.schema.training import *  # noqa: F403
