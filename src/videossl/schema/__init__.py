"""The blocks of ``params.yaml``: which keys exist, their types and what they may hold.

These classes only accept or reject: no defaults, no derived values, nothing that changes a value.
That is why this package does not count as code of a stage (see ``stages.py``): what a stage sees is
exactly the values of ``params.yaml``, and the values are in its fingerprint. A test holds this.
What each key means to a reader is said once, beside its value in ``params.yaml``.
"""

from videossl.schema.blocks import *  # noqa: F403
from videossl.schema.data import *  # noqa: F403
from videossl.schema.downstream import *  # noqa: F403
from videossl.schema.methods import *  # noqa: F403
from videossl.schema.study import *  # noqa: F403
from videossl.schema.training import *  # noqa: F403
