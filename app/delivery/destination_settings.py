"""What gpuledger.toml says of a destination; whatever is secret comes from the environment."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.delivery.destinations import check_address
from app.errors import InputError

DestinationName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
# An option of a driver that is called like this is a secret.
_SECRET_OPTION = re.compile(r"secret|token|password|account_key|connection_string|sas|credential")


class DestinationSettings(BaseModel):
    """Where reports go: an address, the options of its driver, and a time limit.

    ``options_env`` names the environment variables that hold options which are secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    options: dict[str, str | int | bool | dict[str, str | int | bool]] = {}
    options_env: dict[str, str] = {}
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            check_address(url)
        except InputError as error:
            raise ValueError(error.message.removesuffix(".")) from error
        return url

    @field_validator("options")
    @classmethod
    def _hold_no_secret(cls, options: dict[str, object]) -> dict[str, object]:
        for name, value in options.items():
            for one in (name, *(value if isinstance(value, dict) else ())):
                if _SECRET_OPTION.search(one):
                    message = f"{one!r} is a secret: name its environment variable in options_env"
                    raise ValueError(message)
        return options
