"""Moving sprites: the pictures of the built-in dataset. Pure functions from draws to frames.

A video is one bright textured sprite on a dim background. What it shows is drawn from two sources
that know nothing of each other: a *motion* (the class) and an *appearance* (everything else).

Everything that a motion changes lives on a circle: position on the torus (what leaves the frame on
one side enters on the other), orientation on the circle of angles, size on a cycle (at the largest
it starts again at the smallest). Appearance starts each of them uniformly, and a uniform draw on a
circle stays uniform under any motion. So a single frame has exactly the same distribution in every
class: only several frames together show the class.

Units: positions and lengths are shares of the frame's side, x to the right, y down; angles are
turns, positive clockwise on the screen; time is frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Color = tuple[float, float, float]

RADIUS = (0.12, 0.26)  # smallest and largest sprite
# Slowest and fastest of each kind of motion, per frame. The fastest stays below half a cycle over 8
# frames (a turn, an orbit, the size cycle, the torus), so that a clip at stride 4 played at double
# speed still has one direction. The slowest is plain to see within 15 frames (8 at stride 2).
TRAVEL = (0.016, 0.026)
SPIN = (0.022, 0.038)
ORBIT = (0.030, 0.045)
RESIZE = (0.032, 0.046)
SHAKE = (0.055, 0.080)  # turns back at least once within 15 frames; it has no direction to lose
ORBIT_RADIUS = 0.17
SHAKE_REACH = 0.14
JITTER = 0.006  # largest standard deviation of the camera's shake
NOISE = 5.0  # largest standard deviation of the sensor's noise, in grey levels
LIGHT_KEPT = 0.7  # correlation of a flickering light's level from frame to frame
CHUNK = 1 << 18  # pixels rendered at once: stays in the processor's cache


@dataclass(frozen=True)
class Motion:
    """How a sprite moves; each entry is a direction that a speed is multiplied with."""

    travel: tuple[int, int] = (0, 0)
    spin: int = 0
    resize: int = 0
    orbit: int = 0
    shake: tuple[int, int] = (0, 0)


MOTIONS = {
    "Grow": Motion(resize=1),
    "MoveDown": Motion(travel=(0, 1)),
    "MoveLeft": Motion(travel=(-1, 0)),
    "MoveRight": Motion(travel=(1, 0)),
    "MoveUp": Motion(travel=(0, -1)),
    "OrbitClockwise": Motion(orbit=1),
    "OrbitCounterclockwise": Motion(orbit=-1),
    "ShakeHorizontal": Motion(shake=(1, 0)),
    "ShakeVertical": Motion(shake=(0, 1)),
    "Shrink": Motion(resize=-1),
    "SpinClockwise": Motion(spin=1),
    "SpinCounterclockwise": Motion(spin=-1),
}


# ------------------------------------------------------------------------------- appearance

COLORS: dict[str, Color] = {
    "red": (240, 75, 65),
    "orange": (250, 150, 50),
    "yellow": (245, 230, 70),
    "green": (80, 225, 95),
    "cyan": (75, 225, 235),
    "blue": (110, 140, 255),
    "magenta": (240, 95, 225),
    "white": (245, 245, 245),
}


@dataclass(frozen=True)
class Backdrop:
    """The scene behind the sprite: a pattern between two dim colours."""

    pattern: str
    dark: Color
    light: Color
    angle: float
    frequency: float
    offset: tuple[float, float]


@dataclass(frozen=True)
class Appearance:
    """All of a video but its motion. ``speed`` in [0, 1] is a place in the motion's range."""

    shape: str
    texture: str
    color: str
    backdrop: Backdrop
    speed: float
    x: float
    y: float
    angle: float
    level: float  # place in the size cycle, in [0, 1)
    phase: float  # of an orbit or a shake, in turns
    jitter: float
    noise: float


def draw_backdrop(rng: np.random.Generator) -> Backdrop:
    """A scene."""
    dark, light = (rng.uniform(low, low + 25, 3) for low in (12, 45))
    return Backdrop(
        pattern=str(rng.choice(list(PATTERNS))),
        dark=(float(dark[0]), float(dark[1]), float(dark[2])),
        light=(float(light[0]), float(light[1]), float(light[2])),
        angle=float(rng.random()),
        frequency=float(rng.uniform(1.5, 4.0)),
        offset=(float(rng.random()), float(rng.random())),
    )


def draw_appearance(rng: np.random.Generator, backdrop: Backdrop) -> Appearance:
    """A video's appearance in a given scene. The motion is no argument: that is the point."""
    return Appearance(
        shape=str(rng.choice(list(SHAPES))),
        texture=str(rng.choice(list(TEXTURES))),
        color=str(rng.choice(list(COLORS))),
        backdrop=backdrop,
        speed=float(rng.random()),
        x=float(rng.random()),
        y=float(rng.random()),
        angle=float(rng.random()),
        level=float(rng.random()),
        phase=float(rng.random()),
        jitter=float(rng.uniform(0, JITTER)),
        noise=float(rng.uniform(0, NOISE)),
    )


# ------------------------------------------------------------------------------- motion


@dataclass(frozen=True)
class Trajectory:
    """Where the sprite is, frame by frame; every array has shape (T,)."""

    x: Floats  # in [0, 1), camera shake included
    y: Floats
    radius: Floats
    angle: Floats
    camera_x: Floats  # displacement of the whole picture
    camera_y: Floats


def trajectory(
    motion: Motion, look: Appearance, frames: int, rng: np.random.Generator
) -> Trajectory:
    """Move a sprite for ``frames`` frames; ``rng`` shakes the camera."""

    def pace(limits: tuple[float, float]) -> float:
        return limits[0] + look.speed * (limits[1] - limits[0])

    t = np.arange(frames)
    camera = rng.standard_normal((2, frames)) * look.jitter
    around = math.tau * (look.phase + motion.orbit * pace(ORBIT) * t)
    swing = SHAKE_REACH * np.sin(math.tau * (look.phase + pace(SHAKE) * t))
    orbit = ORBIT_RADIUS * abs(motion.orbit)
    travel = pace(TRAVEL) * t
    x = look.x + motion.travel[0] * travel + orbit * np.cos(around) + motion.shake[0] * swing
    y = look.y + motion.travel[1] * travel + orbit * np.sin(around) + motion.shake[1] * swing
    level = (look.level + motion.resize * pace(RESIZE) * t) % 1.0
    arrays = (
        (x + camera[0]) % 1.0,
        (y + camera[1]) % 1.0,
        RADIUS[0] * (RADIUS[1] / RADIUS[0]) ** level,
        (look.angle + motion.spin * pace(SPIN) * t) % 1.0,
        *camera,
    )
    return Trajectory(*(a.astype(np.float32) for a in arrays))


def flicker(frames: int, strength: float, rng: np.random.Generator) -> Floats:
    """Factors (T,) of the brightness of whole frames: one around which a light wanders.

    It has no direction and no period, and knows nothing of the motion. What it did at a certain
    time tells two clips of that time from all others, and nothing about the class: as exposure,
    compression and passers-by do in real videos.

    Args:
        frames: how many.
        strength: standard deviation of the factors' logarithm; 0 is a steady light.
        rng: draws the light's way.
    """
    steps = rng.standard_normal(frames)
    steps[1:] *= math.sqrt(1 - LIGHT_KEPT**2)
    level = list(accumulate(steps, lambda before, step: LIGHT_KEPT * before + step))
    return np.exp(strength * np.array(level)).astype(np.float32)


# ------------------------------------------------------------------------------- pictures
# Shapes, textures and patterns are fields over the sprite's or the scene's own coordinates, 1 being
# the sprite's radius or the frame's side. A shape is the distance to its outline, positive inside;
# a texture is the share of the bright colour, a pattern that of the light one from -1 to 1.

Field = Callable[[Floats, Floats], Floats]
Texture = Callable[[Floats, Floats, Floats], Floats]


def _box(u: Floats, v: Floats, half_width: float, half_height: float) -> Floats:
    inside: Floats = np.minimum(half_width - np.abs(u), half_height - np.abs(v))
    return inside


def _disc(u: Floats, v: Floats, x: float, y: float, radius: float) -> Floats:
    inside: Floats = radius - np.hypot(u - x, v - y)
    return inside


def _triangle(u: Floats, v: Floats) -> Floats:
    slope = np.float32(math.sqrt(0.75))
    inside: Floats = np.float32(0.5) - np.maximum(v, slope * np.abs(u) - np.float32(0.5) * v)
    return inside


SHAPES: dict[str, Field] = {
    "disc": lambda u, v: _disc(u, v, 0, 0, 0.9),
    "square": lambda u, v: _box(u, v, 0.72, 0.72),
    "bar": lambda u, v: _box(u, v, 0.9, 0.45),
    "triangle": _triangle,
    "cross": lambda u, v: np.maximum(_box(u, v, 0.95, 0.35), _box(u, v, 0.35, 0.95)),
    "crescent": lambda u, v: np.minimum(_disc(u, v, 0, 0, 0.95), -_disc(u, v, 0.8, 0, 0.55)),
}

# No texture looks the same after less than a full turn, so that each shape shows how it spins.
TEXTURES: dict[str, Texture] = {
    "halves": lambda u, v, pixels: _cover(u, pixels),
    "quarter": lambda u, v, pixels: _cover(np.maximum(u, v), pixels),
    "spot": lambda u, v, pixels: _cover(-_disc(u, v, 0.0, 0.4, 0.4), pixels),
    "stripes": lambda u, v, pixels: _cover(np.sin(5.6 * u + 0.6) / 5.6, pixels),
    "ramp": lambda u, v, pixels: np.clip(0.5 + 0.5 * v, 0, 1),
}

PATTERNS: dict[str, Field] = {
    "plain": lambda u, v: np.zeros_like(u),
    "ramp": lambda u, v: 1.4 * u,
    "waves": lambda u, v: np.sin(math.tau * u),
    "checks": lambda u, v: 2 * np.sin(math.tau * u) * np.sin(math.tau * v),
    "blobs": lambda u, v: np.sin(4.0 * u + 2.0 * np.sin(3.0 * v)) * np.sin(3.0 * v + 1.0),
}


def _cover(distance: Floats, pixels: Floats) -> Floats:
    """Share of a pixel inside an outline at ``distance``, ``pixels`` to its unit; in [0, 1]."""
    share: Floats = np.clip(distance * pixels + 0.5, 0, 1)
    return share


def _rotate(u: Floats, v: Floats, turns: Floats | float) -> tuple[Floats, Floats]:
    """The coordinates of (u, v) in axes turned by ``turns``."""
    angle = np.float32(math.tau) * np.asarray(turns, np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    return u * cos + v * sin, v * cos - u * sin


def _blend(share: Floats, low: Color, high: Color) -> Floats:
    """Colours from ``low`` (share 0) to ``high`` (share 1), shape (..., 3)."""
    a, b = np.asarray(low, np.float32), np.asarray(high, np.float32)
    colors: Floats = a + share[..., None] * (b - a)
    return colors


def _scene(backdrop: Backdrop, x: Floats, y: Floats) -> Floats:
    """The background's colours at coordinates of shape (T, H, W): (T, H, W, 3)."""
    u, v = _rotate(x - np.float32(0.5), y - np.float32(0.5), backdrop.angle)
    if backdrop.pattern != "ramp":
        u = u * backdrop.frequency + backdrop.offset[0]
        v = v * backdrop.frequency + backdrop.offset[1]
    share = np.clip(0.5 + 0.5 * PATTERNS[backdrop.pattern](u, v), 0, 1)
    return _blend(share, backdrop.dark, backdrop.light)


def _sprite(look: Appearance, u: Floats, v: Floats, pixels: Floats) -> tuple[Floats, Floats]:
    """Opacity (T, H, W) and colours (T, H, W, 3); ``pixels`` is the radius, shape (T, 1, 1)."""
    opacity = _cover(SHAPES[look.shape](u, v), pixels)
    bright = COLORS[look.color]
    shade = (0.3 * bright[0], 0.3 * bright[1], 0.3 * bright[2])
    return opacity, _blend(TEXTURES[look.texture](u, v, pixels), shade, bright)


def _boxes(opacity: Floats, whole: NDArray[np.bool_]) -> Floats:
    """Pixel boxes (T, 4) around what is opaque, without what came around the torus."""
    solid = (opacity > 0.5) & whole
    boxes = []
    for across in (1, 2):  # collapse rows for x, columns for y
        line = np.any(solid, axis=across)  # (T, side)
        boxes += [line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)]
    x0, x1, y0, y1 = boxes
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)


def render(
    look: Appearance, path: Trajectory, light: Floats, size: int, rng: np.random.Generator
) -> Iterator[tuple[Bytes, Floats, Floats]]:
    """Pictures of a sprite on its way, in chunks of frames; ``rng`` is the sensor's noise.

    ``light`` (T,) multiplies the brightness of frames.

    Yields:
        Frames (T, size, size, 3) uint8 RGB; opacity of the sprite (T, size, size) in [0, 1]; boxes
        (T, 4) as x0, y0, x1, y1 in pixels, x1 and y1 exclusive. A box holds the part of the sprite
        that hangs together with its centre; parts that came around the torus lie outside.
    """
    length = max(1, CHUNK // size**2)
    axis: Floats = ((np.arange(size) + 0.5) / size).astype(np.float32)
    grid_y, grid_x = axis[None, :, None], axis[None, None, :]
    for first in range(0, len(path.x), length):
        part = slice(first, first + length)
        x, y, radius, angle, camera_x, camera_y = (
            a[part, None, None]
            for a in (path.x, path.y, path.radius, path.angle, path.camera_x, path.camera_y)
        )
        away_x, away_y = grid_x - x, grid_y - y
        near_x, near_y = ((d + 0.5) % 1.0 - 0.5 for d in (away_x, away_y))
        u, v = _rotate(near_x / radius, near_y / radius, angle)
        opacity, colors = _sprite(look, u, v, radius * size)
        scene = _scene(look.backdrop, grid_x - camera_x, grid_y - camera_y)
        picture = scene + opacity[..., None] * (colors - scene)
        picture *= light[part, None, None, None]
        picture += look.noise * rng.standard_normal(opacity.shape, np.float32)[..., None]
        whole = (np.abs(away_x) <= 0.5) & (np.abs(away_y) <= 0.5)
        yield (
            np.clip(np.rint(picture), 0, 255).astype(np.uint8),
            opacity,
            _boxes(opacity, whole),
        )
