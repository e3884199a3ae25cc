"""The fields of an augmentation draw: a draw is one row of floats, a batch of draws one array."""

from __future__ import annotations

from enum import IntEnum


class Field(IntEnum):
    """The column of each field."""

    Y = 0  # the crop in source pixels, whole numbers: its upper left corner
    X = 1
    HEIGHT = 2
    WIDTH = 3
    FLIP = 4  # 1 mirrors left and right
    BRIGHTNESS = 5  # a factor, as the next two
    CONTRAST = 6
    SATURATION = 7
    HUE = 8  # turns, -0.5 to 0.5
    GRAY = 9  # 1 removes colour
    SIGMA = 10  # of the blur in pixels of the clip, 0 for none
    FIRST = 11  # which of FACTORS comes first: 0 brightness, 1 contrast, 2 saturation
    SECOND = 12
    THIRD = 13


FIELDS = len(Field)
CROP = slice(Field.Y, Field.WIDTH + 1)  # y, x, height, width
GEOMETRY = slice(Field.Y, Field.FLIP + 1)  # the crop and the flip
FACTORS = slice(Field.BRIGHTNESS, Field.SATURATION + 1)
SEQUENCE = slice(Field.FIRST, Field.THIRD + 1)
