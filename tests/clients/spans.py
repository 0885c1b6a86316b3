"""Reads an OTLP export request from standard input with OpenTelemetry's generated Python messages, and prints
its spans as JSON: a decoder that is independent of countersign's encoder.
"""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

request = ExportTraceServiceRequest()
request.ParseFromString(sys.stdin.buffer.read())


def attributes(pairs):
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs}


print(
    json.dumps(
        [
            {
                "service": attributes(resource.resource.attributes)["service.name"],
                "name": span.name,
                "kind": Span.SpanKind.Name(span.kind),
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "attributes": attributes(span.attributes),
                "ends": span.end_time_unix_nano > span.start_time_unix_nano > 0,
            }
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    )
)
