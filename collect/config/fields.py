"""Kinds of numbers that several configuration files share, and their strict base class."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Guidance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Ratio = Annotated[float, Field(ge=0)]  # noise over signal; .inf is allowed
SHARED = {"extra": "forbid", "frozen": True}


class Strict(BaseModel):
    model_config = ConfigDict(**SHARED)
