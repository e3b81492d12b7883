"""The fields of a recipe -> the JSON schema that editors and `dg check` have of it."""

from collections.abc import Mapping
from dataclasses import Field
from typing import Any

from codedata.recipe.documents import RECIPE_FIELDS, SECTIONS
from codedata.recipe.judging import taken_by


def schema_of_recipe() -> dict[str, Any]:
    """What a YAML may have as recipe."""

    def properties(known: Mapping[str, Field[Any]]) -> dict[str, Any]:
        return {
            name: {**taken_by(each).schema, "description": each.metadata["help"]}
            for name, each in known.items()
        }

    def mapping(known: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"type": "object", "properties": known, "additionalProperties": False, **more}

    documents = mapping(properties(SECTIONS["documents"]), required=["eos"])
    fim = {"anyOf": [mapping(properties(SECTIONS["fim"])), {"type": "null"}]}
    own = properties(RECIPE_FIELDS)
    recipe = mapping({"documents": documents, **own, "fim": fim}, required=["documents"])
    return {"anyOf": [recipe, {"type": "null"}]}
