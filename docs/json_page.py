"""The tables of docs/json.md, made from the JSON Schema of the outputs."""


def tables(schema: dict) -> str:
    """Markdown: one table of fields a command, then one a type that several commands share."""
    definitions = schema["$defs"]
    commands = [name for name in definitions if name[0].islower()]
    shared = [name for name in definitions if name not in commands]
    parts = [f"## {name}\n\n{_definition(definitions[name])}" for name in commands]
    parts.append("## Types")
    parts += [f"(type-{name.lower()})=\n### {name}\n\n{_definition(definitions[name])}" for name in shared]
    return "\n\n".join(parts) + "\n"


def _definition(node):
    head = node.get("description", "") + ":"
    if node.get("type") == "array":
        return f"{head} A list; each element has\n\n{_fields(node['items'])}"
    return f"{head}\n\n{_fields(node)}" if "properties" in node else f"{head} {_kind(node)}."


def _fields(node):
    if "properties" not in node:
        return f"* {_kind(node)}"
    required = node.get("required", ())
    rows = [f"| `{name}` | {_kind(field)}{'' if name in required else ', optional'} | {_words(field)} |"
            for name, field in node["properties"].items()]  # fmt: skip
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _words(field):
    inner = field.get("items", {}).get("properties") or {}
    listed = f"each has {', '.join(f'`{name}`' for name in inner)}" if inner else ""
    return "; ".join(filter(None, [field.get("description", ""), listed])).replace("|", "\\|")


def _kind(field):
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[`{name}`](#type-{name.lower()})"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if options := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(_kind(option) for option in options)
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(field['items'])}" if "items" in field else "list"
    return " or ".join(kind) if isinstance(kind, list) else kind
