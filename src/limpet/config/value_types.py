"""Types of values that several parts of the schema share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

# Strict: `true` is no number, and "3" is a text.
Whole = Annotated[int, Strict()]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAME_WORDS = "1 to 64 letters, digits, '.', '_' or '-'; a letter or digit first"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
# A token of RFC 9110 section 5.6.2: names of cookies and of header fields.
FIELD_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$"
FIELD_NAME_WORDS = "1 to 100 letters, digits, '-', '_' or '.', without spaces"
FieldName = Annotated[str, Field(pattern=FIELD_NAME_PATTERN)]
