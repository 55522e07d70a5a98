"""`laser check`: the properties that every part must have, measured on a part of anybody's."""
