"""Ways in which the mock misbehaves on purpose: small changes of a reply that can be combined."""

from mockserver.faults.applying import apply, gateway, wait_s
from mockserver.faults.parsing import Chosen, FaultError, ordered, parse
from mockserver.faults.registry import FAULTS, Fault, Harm
from mockserver.faults.samples import fault_context, limited

__all__ = [
    "FAULTS",
    "Chosen",
    "Fault",
    "FaultError",
    "Harm",
    "apply",
    "fault_context",
    "gateway",
    "limited",
    "ordered",
    "parse",
    "wait_s",
]
