"""Ways in which the mock misbehaves on purpose: small changes of a reply that can be combined."""

from mockserver.faults.applying import apply, apply_live, find_gateway_reply, find_retry_after_s
from mockserver.faults.parsing import Chosen, FaultError, parse, sort_faults
from mockserver.faults.registry import FAULTS, Fault, Harm
from mockserver.faults.samples import find_rate_limit_scenario, make_context

__all__ = [
    "FAULTS",
    "Chosen",
    "Fault",
    "FaultError",
    "Harm",
    "apply",
    "apply_live",
    "find_gateway_reply",
    "find_rate_limit_scenario",
    "find_retry_after_s",
    "make_context",
    "parse",
    "sort_faults",
]
