"""Resolves endpoints with botocore's partitions and endpoint rules.

stdout, one JSON line each: {"service", "region", "host"}. The service "partition" has a host of the form
`REGION.SUFFIX` for each region and for both suffixes of its partition.
"""

import json

import botocore.session
from botocore.endpoint_provider import EndpointProvider

SERVICES = [
    "apigatewaymanagementapi",
    "bedrock-agentcore",
    "bedrock-runtime",
    "iot-data",
    "iotwireless",
    "kinesisvideo",
]

loader = botocore.session.get_session().get_component("data_loader")
partitions = loader.load_data("partitions")


def write(service, region, host):
    print(json.dumps({"service": service, "region": region, "host": host}))


regions = []
for partition in partitions["partitions"]:
    outputs = partition["outputs"]
    for region in partition["regions"]:
        if region.endswith("-global"):
            continue
        regions.append(region)
        for suffix in ("dnsSuffix", "dualStackDnsSuffix"):
            write("partition", region, f"{region}.{outputs[suffix]}")

for service in SERVICES:
    rules = loader.load_service_model(service, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, partitions)
    for region in regions:
        for fips in (False, True):
            for dual in (False, True):
                parameters = {"Region": region, "UseFIPS": fips, "UseDualStack": dual}
                endpoint = provider.resolve_endpoint(**parameters)
                write(service, region, endpoint.url.removeprefix("https://"))
