"""What values share that people look at: a screenful wherever they are shown, and all of it as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from tfgrpo_dspy.errors import MissingExtraError
from tfgrpo_dspy.looks.look import Look

if TYPE_CHECKING:
    import pandas


class Shown:
    """A value whose `repr`, `str` and HTML in a notebook are a screenful; its parts are attributes."""

    __slots__ = ()

    def look(self) -> Look:
        """What it shows of itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.look().to_text()

    def _repr_html_(self) -> str:
        return self.look().to_html()

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        made: dict[str, Any] = plain(self)
        return made


class Tabular(Shown):
    """A value that is rows as well."""

    __slots__ = ()

    def rows(self) -> list[dict[str, Any]]:
        """Its rows: column name to value."""
        raise NotImplementedError

    def to_dataframe(self) -> pandas.DataFrame:
        """Its rows as a pandas `DataFrame`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("data frames need pandas: pip install 'tfgrpo-dspy[datasets]'") from error
        return pandas.DataFrame(self.rows())


def plain(value: Any) -> Any:
    """A value as JSON values: the fields of data, mappings, lists; of anything else its text."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if (to_plain := getattr(value, "model_dump", None) or getattr(value, "toDict", None)) is not None:
        return plain(to_plain())
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes):
        return [plain(one) for one in value]
    return str(value)
