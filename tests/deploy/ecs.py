"""Checks a task definition against the shapes of AWS's own model: names, types, enumerations."""

import json
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


def values_outside_enumerations(shape, value, path):
    """Yields the values that are not in their enumeration."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from values_outside_enumerations(shape.members[name], inner, f"{path}.{name}")
    elif shape.type_name == "list":
        for at, inner in enumerate(value):
            yield from values_outside_enumerations(shape.member, inner, f"{path}[{at}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {', '.join(shape.enum)}"


with open(sys.argv[1]) as file:
    definition = json.load(file)
model = ServiceModel(Loader().load_service_model("ecs", "service-2"))
shape = model.operation_model("RegisterTaskDefinition").input_shape
report = ParamValidator().validate(definition, shape)
if report.has_errors():
    sys.exit(report.generate_report())
wrong = list(values_outside_enumerations(shape, definition, shape.name))
sys.exit("\n".join(wrong) if wrong else 0)
