"""`/__mock__/metrics`: what Prometheus asks for, summed over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from werkzeug.datastructures import Headers

from flowcontract.output.version import read_version
from mockserver.http.failures import make_problem
from mockserver.http.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from mockserver.core.mock import Mock

_PREFIX = "flowcontract_mock_"


class _Counted(NamedTuple):
    """A counter: what it tells, and the names of its labels."""

    help: str
    labels: tuple[str, ...]


_COUNTERS = {
    "requests": _Counted("Requests that were answered", ("operation", "status")),
    "violations": _Counted("What requests had that the contract forbids", ("operation",)),
    "streams": _Counted("Streams that have ended, by how", ("operation", "ended")),
    "events": _Counted("Events that were sent in streams that have ended", ("operation",)),
    "received_bytes": _Counted("Bytes of the bodies of requests", ("operation",)),
    "sent_bytes": _Counted("Bytes of the bodies of answers, of streams when they have ended", ("operation",)),
}
_GAUGES = {
    "streams_open": "Streams that are being sent",
    "memory_bytes": "Memory that the processes hold",
    "worlds": "Worlds that there are",
}


def make_reply(mock: Mock) -> Reply:
    """Return the metrics in Prometheus' text format; raise StateError where the other workers' cannot be read."""
    meter = mock.journal.meter
    if meter is None:
        detail = "Metrics need a library. In the checkout: pip install '.[metrics]'."
        return make_problem(501, "No metrics", detail)
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra

    class Collector:
        def collect(self) -> Iterator[Metric]:
            return _collect(mock)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return Reply(200, Headers([("Content-Type", CONTENT_TYPE_LATEST)]), generate_latest(registry))


def _collect(mock: Mock) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily  # noqa: PLC0415

    meter = mock.journal.meter
    assert meter is not None
    counts, gauges = meter.read()
    gauges["worlds"] = len(mock.worlds.list_names())
    for name, counted in _COUNTERS.items():
        family = CounterMetricFamily(f"{_PREFIX}{name}", counted.help, labels=counted.labels)
        for (kind, *labels), count in sorted(counts.items()):
            if kind == name:
                family.add_metric(labels, count)
        yield family
    for name, text in _GAUGES.items():
        yield GaugeMetricFamily(f"{_PREFIX}{name}", text, value=gauges.get(name, 0))
    yield InfoMetricFamily(_PREFIX.rstrip("_"), "What answers", value={"version": read_version()})
