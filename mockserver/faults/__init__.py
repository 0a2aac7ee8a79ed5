"""Ways in which the mock misbehaves on purpose: small changes of a reply that can be combined."""

from mockserver.faults.applying import apply, wait_s
from mockserver.faults.parsing import Chosen, FaultError, ordered, parse
from mockserver.faults.registry import FAULTS, Fault, Harm
from mockserver.faults.samples import ground_of, limited

__all__ = [
    "FAULTS",
    "Chosen",
    "Fault",
    "FaultError",
    "Harm",
    "apply",
    "ground_of",
    "limited",
    "ordered",
    "parse",
    "wait_s",
]
