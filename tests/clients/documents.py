"""Prints the operations that graphql-core finds in documents: see documents.mjs."""

import json
import sys

from graphql import GraphQLSyntaxError, OperationDefinitionNode, parse


def operations(text):
    try:
        document = parse(text, no_location=True)
    except (GraphQLSyntaxError, RecursionError):
        return None
    found = (node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return [[node.operation.value, node.name.value if node.name else None] for node in found]


with open(sys.argv[1], encoding="utf-8") as file:
    texts = json.load(file)
json.dump([operations(text) for text in texts], sys.stdout)
