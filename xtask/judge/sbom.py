"""Reads a bill of materials as a stranger does: the library of CycloneDX for Python judges it by the schema of its version and
parses it. Prints what it found; ends with 1 when the document is none."""

import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
if fault is not None:
    sys.exit(f"not CycloneDX 1.5: {fault!r}"[:2000])

bom = Bom.from_json(json.loads(text))
bom.validate()
program = bom.metadata.component
components = sorted(bom.components, key=lambda one: (one.name, one.version))
# Crates of the repository itself come with it and have no checksum of their own.
without = [
    one.name for one in components
    if not one.licenses or not (one.hashes or one.bom_ref.value.startswith("kos:"))
]
print(json.dumps({
    "program": program.name,
    "components": [f"{one.name} {one.version}" for one in [program, *components]],
    "without": without,
}))
