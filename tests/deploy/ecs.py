"""Holds a task definition against the shapes of AWS's own model: names, types, enumerations."""

import json
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


def strangers(shape, value, path):
    """What stands where only the words of an enumeration may."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from strangers(shape.members[name], inner, f"{path}.{name}")
    elif shape.type_name == "list":
        for at, inner in enumerate(value):
            yield from strangers(shape.member, inner, f"{path}[{at}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is none of {', '.join(shape.enum)}"


with open(sys.argv[1]) as file:
    definition = json.load(file)
model = ServiceModel(Loader().load_service_model("ecs", "service-2"))
shape = model.operation_model("RegisterTaskDefinition").input_shape
report = ParamValidator().validate(definition, shape)
if report.has_errors():
    sys.exit(report.generate_report())
wrong = list(strangers(shape, definition, shape.name))
sys.exit("\n".join(wrong) if wrong else 0)
