# SPDX-License-Identifier: Apache-2.0
"""Networks sparse in weights and activations, on CPUs. See docs/python.md."""
from ._native import ConfigurationError, DataError, Engine, Error, Event, Layer, Stream, __version__
from ._programs import Run, export, train

__all__ = ["ConfigurationError", "DataError", "Engine", "Error", "Event", "Layer", "Run", "Stream",
           "export", "train", "__version__"]


def _plan(self):
    """The plan as a table: each layer, its kernel, the expected time and why."""
    rows = [("layer", "kernel", "multiplications", "expected us", "reason")]
    rows += [(each.name, each.kernel, str(each.macs_executed), f"{each.expected_us:.2f}", each.reason)
             for each in self.layers]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]),
                        row[3].rjust(widths[3]), row[4]]).rstrip() for row in rows]
    return "\n".join(lines)


Engine.plan = _plan
for _each in (ConfigurationError, DataError, Engine, Error, Event, Layer, Stream):
    _each.__module__ = "bisparse"
