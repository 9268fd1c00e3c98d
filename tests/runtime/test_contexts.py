"""Fields that a context schema accepts and requires."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_settings import BaseSettings
from typing_extensions import TypedDict

from runstead.runtime.runs.contexts import fitting_context, missing_fields


class Model(BaseModel):
    a: int
    b: int = 0
    c: int = Field(alias="see")
    d: int = Field(validation_alias=AliasChoices("dee", "delta"))
    e: int = Field(validation_alias=AliasPath("below", "e"))


@dataclass
class Data:
    a: int
    v: InitVar[int]
    b: list[int] = field(default_factory=list)
    made: int = field(init=False, default=1)


@checked_dataclass
class Checked:
    a: int
    b: int = Field(default_factory=int)
    c: int = Field(default=1, alias="see")


class Dict(TypedDict):
    a: int


class Longer(Dict, total=False):
    b: int


class Filled(BaseModel):
    a: int

    @model_validator(mode="before")
    @classmethod
    def fill(cls, given: Any) -> Any:
        return {"a": 1, **given}


class Environment(BaseSettings):
    a: int


@pytest.mark.parametrize(
    ("schema", "given", "missing"),
    [
        (Model, {}, ["a", "c", "d"]),
        (Model, {"a": 1, "see": 1, "delta": 1}, []),
        (Data, {}, ["a", "v"]),
        (Data, {"a": 1, "v": 1}, []),
        (Checked, None, ["a"]),
        (Longer, {}, []),
        (Filled, {}, []),
        (Environment, {}, []),
        (None, {}, []),
    ],
    ids=repr,
)
def test_missing_fields_are_those_without_default(schema: Any, given: Any, missing: list[str]) -> None:
    assert missing_fields(schema, given) == missing


@pytest.mark.parametrize(
    ("schema", "known"),
    [
        (Model, ["a", "b", "see", "dee", "delta"]),
        (Data, ["a", "v", "b"]),
        (Checked, ["a", "b", "see"]),
        (Longer, ["a", "b"]),
        (None, ["a", "other"]),
    ],
    ids=repr,
)
def test_fitting_context_has_only_keys_of_the_schema(schema: Any, known: list[str]) -> None:
    given = dict.fromkeys((*known, *(["other"] if schema else [])), 1)
    assert fitting_context(schema, given) == dict.fromkeys(known, 1)
    assert fitting_context(schema, None) == fitting_context(schema, {}) == {}
