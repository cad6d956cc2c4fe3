"""Errors of pydantic's models as text."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from onebreath.validation import as_text, problems


class Inner(BaseModel):
    size: int

    @field_validator("size")
    @classmethod
    def positive(cls, value: int) -> int:
        if value <= 0:
            raise ValueError("sizes are positive")
        return value


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: list[Inner]
    name: str


def test_each_problem_says_where_it_is_what_was_given_and_why():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": [{"size": 1}, {"size": -1}], "nmae": "x"})
    low, missing, unknown = problems(caught.value)
    assert (low.where, low.value, low.reason) == ("inner.1.size", -1, "sizes are positive")
    assert (missing.where, missing.missing, missing.unknown) == ("name", True, False)
    assert (unknown.where, unknown.missing, unknown.unknown) == ("nmae", False, True)
    assert as_text(caught.value).startswith(
        "inner.1.size: Value error, sizes are positive; name: Field required; nmae: "
    )
