"""Compares what was asked of GitHub's double, and what it answered, with GitHub's own description. Prints what differs.

check.py openapi.json.gz < exchanges.json
"""

import gzip
import json
import re
import sys
import urllib.parse

from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

# Any call may be answered so, whatever its description lists.
ALWAYS = {"401", "403", "404", "422", "429"}


def named(node):
    """References lead into this document, wherever they stand. A discriminator is left out: it only repeats what `oneOf` says."""
    if isinstance(node, list):
        return [named(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "discriminator"}
    # GitHub means that null is allowed, although `enum` does not list it.
    if kept.get("nullable") is True and isinstance(kept.get("enum"), list):
        kept["enum"] = [*kept["enum"], None]
    return {key: "urn:github" + value if key == "$ref" and isinstance(value, str) else named(value) for key, value in kept.items()}


class Description:
    def __init__(self, path):
        self.document = named(json.loads(gzip.open(path).read()))
        self.registry = Registry().with_resource("urn:github", Resource(self.document, DRAFT4))

    def resolved(self, node):
        while "$ref" in node:
            node = self.registry.resolver("urn:github").lookup(node["$ref"]).contents
        return node

    def operation(self, method, path):
        for template, item in self.document["paths"].items():
            # Names of references and of files may have slashes.
            any_name = ".+" if template.endswith(("-refs/{ref}", "/contents/{path}")) else "[^/]+"
            pattern = re.sub(r"\\\{[^/]+?\\\}(?=$)", any_name, re.escape(template))
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", pattern)
            if re.fullmatch(pattern, path):
                # A fixed word before a parameter: `/releases/generate-notes` before `/releases/{release_id}`.
                yield template.count("{"), item.get(method.lower()), item.get("parameters", [])

    def differences(self, schema, value):
        validator = OAS30Validator(schema, registry=self.registry, format_checker=oas30_format_checker)
        for error in validator.iter_errors(value):
            yield f"{'/'.join(map(str, error.absolute_path)) or 'all of it'}: {error.message[:300]}"


def request_differences(description, operation, shared, exchange, query):
    parameters = [description.resolved(it) for it in operation.get("parameters", []) + shared]
    known = {it["name"]: it for it in parameters if it["in"] == "query"}
    for name, value in query:
        if name not in known:
            yield f"there is no parameter `{name}`"
            continue
        schema = description.resolved(known[name]["schema"])
        number = schema.get("type") == "integer" and value.isdigit()
        yield from description.differences(schema, int(value) if number else value)
    for name, parameter in known.items():
        if parameter.get("required") and name not in dict(query):
            yield f"the parameter `{name}` is missing"
    body = operation.get("requestBody")
    if body is None:
        if exchange["body"] is not None:
            yield "it takes no body"
        return
    body = description.resolved(body)
    if exchange["body"] is None:
        if "application/json" in body["content"] and body.get("required"):
            yield "the body is missing"
        return
    if "application/json" not in body["content"]:
        return
    schema = description.resolved(body["content"]["application/json"]["schema"])
    if not (exchange["content_type"] or "").startswith("application/json"):
        yield f"the content type is {exchange['content_type']}"
    yield from description.differences(schema, exchange["body"])
    for name in set(exchange["body"]) - set(schema.get("properties", exchange["body"])):
        yield f"the body has no `{name}`"


def answer_differences(description, operation, exchange):
    status = str(exchange["status"])
    answer = operation["responses"].get(status)
    if answer is None:
        if status not in ALWAYS:
            yield f"it is never answered by {status}"
        return
    content = description.resolved(answer).get("content", {}).get("application/json")
    if content is None:
        if exchange["answer"] is not None and status not in ALWAYS:
            yield f"{status} has no body"
        return
    yield from description.differences(content["schema"], exchange["answer"])


def main():
    description = Description(sys.argv[1])
    for exchange in json.load(sys.stdin):
        path, _, query = exchange["path"].partition("?")
        path = path.removeprefix("/uploads")
        line = f"{exchange['method']} {exchange['path']}"
        # Not part of the description: GraphQL; nor what a token was sent to by mistake, which tests look for themselves.
        if path == "/graphql":
            continue
        found = sorted(description.operation(exchange["method"], path), key=lambda it: it[0])
        if not found or found[0][1] is None:
            print(f"{line}: there is no such call")
            continue
        _, operation, shared = found[0]
        query = urllib.parse.parse_qsl(query, keep_blank_values=True)
        # What was refused for its content may well be wrong; the description of a fault's answer is not GitHub's.
        if exchange["status"] != 422:
            for difference in request_differences(description, operation, shared, exchange, query):
                print(f"{line}, asked: {difference}")
        if not exchange["is_fault"]:
            for difference in answer_differences(description, operation, exchange):
                print(f"{line}, answered {exchange['status']}: {difference}")


main()
