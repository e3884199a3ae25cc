"""A folder of good, odd, damaged and hostile files, the same bytes every time.

Every frame of a video tells its number by its mean brightness, so that a test can see which
frames were stored. ``write`` returns what the stage ``decode`` owes to each name.
"""

import os
import stat
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

SIZE = (48, 64)
FRAMES = 20  # of most videos; 30 at most, so that brightness can tell them apart
DARKEST, STEP = 30, 6
INVALID = "^InvalidDataError: Invalid data found when processing input$"
ONE_FRAME = r"^1 frames; decode\.min_frames is 8$"
NOT_FOUND, LEAVES = "^not found$", "^its path leaves the dataset's folder$"
NOT_A_VIDEO = rf"^a playlist, not a video \(|^PermissionError: Operation not permitted$|{INVALID}"
VP8_START = b"\x9d\x01\x2a"  # of a key frame; width and height follow
ONE = 1 << 16
UPRIGHT = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
TURN_90 = struct.pack(">9i", 0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)
TURN_180 = struct.pack(">9i", -ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30)
BASES = {
    "plain.mp4": "libx264",
    "faststart.mp4": "libx264",
    "plain.mkv": "libx264",
    "plain.avi": "mpeg4",
}


@dataclass(frozen=True)
class Odd:
    """A name and its fate: "whole", all ``frames``; "part", some or none; "none", a reason."""

    name: str
    fate: Literal["whole", "part", "none"]
    frames: int = 0
    reason: str = ""  # a regular expression

    @property
    def kind(self) -> str:
        return self.name.split("/")[0]


def numbers(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which frames of a video made here these are, (T,)."""
    return np.rint((frames.mean((1, 2, 3)) - DARKEST) / STEP).astype(np.int64)


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3): texture that moves, brighter with every frame."""
    noise = np.random.default_rng(0).integers(-20, 21, (*size, 1))
    noise -= int(noise.mean())
    moved = np.roll(noise, number, axis=1) + DARKEST + STEP * number
    return np.repeat(moved, 3, axis=2).astype(np.uint8)


def write_video(
    path: Path,
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    bits: int = 4_000_000,  # a second
    times: Sequence[int] | None = None,  # of the frames, in units of 1/rate
    streams: int = 1,  # the later ones of half the size
    title: str = "",
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as output:
        if title:
            output.metadata["title"] = title
        made = []
        for number in range(streams):
            stream = output.add_stream(codec, rate=rate)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = (side >> number for side in size)
            stream.pix_fmt = pix_fmt
            stream.bit_rate = bits
            stream.codec_context.time_base = 1 / Fraction(rate)
            stream.codec_context.thread_count = 1
            stream.options = {"g": "10", **options}
            made.append(stream)
        for number in range(frames):
            for stream in made:
                image = picture(number, (stream.height, stream.width))
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = times[number] if times else number
                output.mux(stream.encode(frame))
        output.start_encoding()  # for the header, where there is no frame
        for stream in made:
            output.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        output.mux(stream.encode(silence))
        output.mux(stream.encode(None))


def png(height: int, width: int) -> bytes:
    """A PNG that says it has this size, and has one byte of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def huge_vp8(content: bytes, side: int) -> bytes:
    """A VP8 file whose first frame claims to be that large; up to 16383."""
    size = content.index(VP8_START) + len(VP8_START)
    return content[:size] + struct.pack("<HH", side, side) + content[size + 4 :]


class Folder:
    """Writes files under ``root`` and notes what is owed to each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.odd: list[Odd] = []

    def content(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def put(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def whole(self, name: str, content: bytes | None = None, frames: int = FRAMES) -> None:
        if content is not None:
            self.put(name, content)
        self.odd.append(Odd(name, "whole", frames))

    def part(self, name: str, content: bytes, frames: int = FRAMES) -> None:
        self.put(name, content)
        self.odd.append(Odd(name, "part", frames))

    def none(self, name: str, reason: str, content: bytes | None = None) -> Path:
        if content is not None:
            self.put(name, content)
        self.odd.append(Odd(name, "none", reason=reason))
        return self.root / name

    def video(self, name: str, frames: int = FRAMES, **how: Any) -> None:
        write_video(self.root / name, frames, **how)
        self.whole(name, frames=frames)


def write(root: Path) -> list[Odd]:
    """All files, in ``root`` and one two folders above."""
    folder = Folder(root)
    for part in (good, good_codecs, good_names, cut, flipped, hopeless, too_short, hostile, links):
        part(folder)
    return folder.odd


def good(folder: Folder) -> None:
    """What datasets hold."""
    for name, codec in BASES.items():
        moved = {"movflags": "faststart"} if name.startswith("fast") else {}
        folder.video(f"base/{name}", codec=codec, container=moved)
    for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuvj420p"):
        for suffix in ("mp4", "mkv", "avi"):
            folder.video(f"pixels/{pixels}.{suffix}", 12, pix_fmt=pixels)
    for rate in (1, 24, 60, 1000, Fraction(30000, 1001), Fraction(1, 10)):
        folder.video(f"rate/{float(rate):.2f}.mp4", 10, rate=rate)
    for suffix in ("mp4", "mkv"):
        times = [number**2 for number in range(FRAMES)]
        folder.video(f"variable_rate/{suffix}.{suffix}", rate=500, times=times)
        folder.video(f"streams/{suffix}.{suffix}", streams=2)
        folder.video(f"b_frames/{suffix}.{suffix}", bf="3")
        folder.video(f"title/{suffix}.{suffix}", title="SECRET")
    folder.video("title/avi.avi", codec="mpeg4", title="SECRET")
    for odd in [odd for odd in folder.odd if odd.kind == "title"]:
        folder.put(odd.name, folder.content(odd.name).replace(b"SECRET", b"\xff\xfe\xc0x\xf5z"))
    for height, width in ((49, 65), (17, 17), (2, 2), (16, 250), (250, 16)):
        folder.video(f"size/{height}x{width}.mkv", 10, size=(height, width), codec="ffv1")
    upright = folder.content("base/plain.mp4")
    before, after = upright.rsplit(UPRIGHT, 1)  # the last: that of the track
    folder.whole("rotated/90.mp4", before + TURN_90 + after)
    folder.whole("rotated/180.mp4", before + TURN_180 + after)
    folder.whole("junk_behind/mp4.mp4", upright + bytes(1000))


def good_codecs(folder: Folder) -> None:
    """Codecs that datasets have been seen to use, and a few more."""
    quiet = {"x265-params": "log-level=none"}
    for pixels in ("yuv420p", "yuv420p10le"):
        for suffix in ("mp4", "mkv"):
            how = {"codec": "libx265", "pix_fmt": pixels, **quiet}
            folder.video(f"h265/{pixels}.{suffix}", 10, **how)
    folder.video("h264_10_bits/mp4.mp4", pix_fmt="yuv420p10le")
    folder.video("h264_10_bits/mkv.mkv", pix_fmt="yuv420p10le")
    folder.video("b_frames/mpeg4.avi", codec="mpeg4", bf="2")
    folder.video("b_frames/h264.avi", bf="2")
    folder.video("codec/mpeg2.mpg", codec="mpeg2video")
    folder.video("codec/mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p")
    folder.video("codec/raw.avi", codec="rawvideo", pix_fmt="bgr24")
    folder.video("codec/vp8.webm", codec="libvpx")
    folder.video("codec/vp9.webm", codec="libvpx-vp9")
    folder.video("codec/h264.ts")
    folder.video("codec/h264.flv")
    if "libsvtav1" in av.codecs_available:
        folder.video("codec/av1.mkv", codec="libsvtav1", size=(64, 64), bits=0, preset="10")


def good_names(folder: Folder) -> None:
    """Every one is a legal name, and none a protocol or a pattern."""
    names = [" a b ", "a\nb", "a%03d", "a'b\"c", "-a", "concat:a|b", "http:a", "file:a", "a#?*[b]"]
    names += ["a\\b", "é", "e\u0301", "\U0001f3ac", os.fsdecode(b"\xff\xfe"), "n" * 251]
    for name in names:
        folder.whole(f"names/{name}.mp4", folder.content("base/plain.mp4"))
    folder.whole("names/no suffix", folder.content("base/plain.mkv"))
    folder.whole("names/UPPER.MP4", folder.content("base/faststart.mp4"))
    folder.whole("names/wrong.avi", folder.content("base/plain.mp4"))


def cut(folder: Folder) -> None:
    """Files of which the end or the start is lost."""
    for base in BASES:
        content = folder.content(f"base/{base}")
        for percent in (10, 20, 30, 40, 50, 60, 70, 80, 90, 99):
            folder.part(f"cut/{percent}-{base}", content[: len(content) * percent // 100])
        folder.part(f"beheaded/{base}", content[len(content) // 5 :])


def flipped(folder: Folder) -> None:
    """Files with wrong bits: anywhere, in the first bytes, and a block of zeros."""
    random = np.random.default_rng(1)
    for base in BASES:
        content = folder.content(f"base/{base}")
        for number in range(12):
            damaged = bytearray(content)
            reach = len(content) if number < 8 else 600
            for position in random.integers(reach, size=4 * (number % 8 + 1)):
                damaged[position] ^= 1 << int(random.integers(8))
            folder.part(f"flipped/{number}-{base}", bytes(damaged))
        start = len(content) // 2
        hole = content[:start] + bytes(512) + content[start + 512 :]
        folder.part(f"hole/{base}", hole)


def hopeless(folder: Folder) -> None:
    """Files that hold no video at all."""
    noise = np.random.default_rng(2).bytes
    no_video = f"{INVALID}|^no video stream$|^no frame in |^EOFError: End of file$"
    for suffix in ("mp4", "mkv", "avi"):
        folder.none(f"empty/{suffix}.{suffix}", INVALID, b"")
        folder.none(f"text/{suffix}.{suffix}", INVALID, b"not a video\n" * 500)
        folder.none(f"html/{suffix}.{suffix}", INVALID, b"<!DOCTYPE html><p>Not found</p>\n")
        folder.none(f"zeros/{suffix}.{suffix}", INVALID, bytes(20_000))
        folder.none(f"random/{suffix}.{suffix}", no_video, noise(20_000))
        sound = folder.none(f"sound/{suffix}.{suffix}", "^no video stream$")
        sound.parent.mkdir(exist_ok=True)
        write_sound(sound)
        write_video(folder.none(f"no_frames/{suffix}.{suffix}", no_video), 0)
    unknown = folder.content("base/plain.mp4").replace(b"avc1", b"zzzz")
    folder.none("unknown_codec/mp4.mp4", "^no decoder for its codec$", unknown)
    for side in (60_000, 30_000):
        folder.none(f"huge/{side}.png", "^no frame in 1 packets", png(side, side))


def too_short(folder: Folder) -> None:
    """Fewer frames than a clip."""
    for suffix in ("mp4", "mkv", "avi"):
        write_video(folder.none(f"one_frame/{suffix}.{suffix}", ONE_FRAME), 1)
    write_video(folder.none("seven_frames/mp4.mp4", r"^7 frames; decode\.min_frames is 8$"), 7)
    jpeg = simplejpeg.encode_jpeg(picture(3))
    folder.none("image/jpeg.mp4", ONE_FRAME, jpeg)
    folder.none("image/jpeg.jpg", ONE_FRAME, jpeg)
    write_video(folder.none("image/png.png", ONE_FRAME), 1, codec="png", pix_fmt="rgb24")
    for height, width in ((1, 64), (48, 1), (1, 1)):
        path = folder.none(f"thin/{height}x{width}.avi", f"^frames of {height}x{width} pixels")
        write_video(path, size=(height, width), codec="rawvideo", pix_fmt="bgr24")


def hostile(folder: Folder) -> None:
    """What makes a decoder read other files, ask for much memory or change its mind."""
    lists = {
        "concat": "ffconcat version 1.0\nfile ../base/plain.mp4\nfile ../base/plain.mp4\n",
        "here": "ffconcat version 1.0\nfile plain.mp4\nfile plain.mp4\n",
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n../codec/h264.ts\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 50004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }
    folder.whole("playlist/plain.mp4", folder.content("base/plain.mp4"))
    for name, text in lists.items():
        folder.none(f"playlist/{name}.mp4", NOT_A_VIDEO, text.encode())
    content = huge_vp8(folder.content("codec/vp8.webm"), 16383)
    folder.none("huge/vp8.webm", "^10 of 20 packets are corrupt$", content)
    first, second = (folder.root / "size_changes" / f"{side}.ts" for side in (48, 96))
    folder.video("size_changes/48.ts", 10)
    folder.video("size_changes/96.ts", 10, size=(96, 64))
    folder.whole("size_changes/both.ts", first.read_bytes() + second.read_bytes())
    folder.none("names/nul\0.mp4", "^ValueError: embedded null byte$")
    folder.none(f"names/{'n' * 300}.mp4", "^File name too long$")
    folder.none("names/UPPER.MP4/a.mp4", "^Not a directory$")
    folder.none("missing/a.mp4", NOT_FOUND)
    outside = write_video(folder.root.parents[1] / "outside.mp4")
    folder.none(str(outside), LEAVES)
    for name in ("../../outside.mp4", "base/../../../outside.mp4", "base/../base/plain.mp4"):
        folder.none(name, LEAVES)


def links(folder: Folder) -> None:
    """Symbolic links and what is no regular file. Links may leave the folder: disks are linked."""
    (folder.root / "links").mkdir()
    for name, target in {
        "file.mp4": "../base/plain.mp4",
        "outside.mp4": "../../../outside.mp4",
        "absolute.mp4": str(folder.root / "base" / "plain.mp4"),
        "twice.mp4": "file.mp4",
    }.items():
        (folder.root / "links" / name).symlink_to(target)
        folder.whole(f"links/{name}")
    (folder.root / "links" / "folder").symlink_to("../base")
    folder.whole("links/folder/plain.avi")
    for name, (target, reason) in {
        "loop.mp4": ("loop.mp4", "^symbolic link loop$"),
        "nothing.mp4": ("nowhere/a.mp4", "^not found: a symbolic link to nothing$"),
        "zero.mp4": ("/dev/zero", r"^not a regular file \(character device\)$"),
        "folder.mp4": ("../base", "^a folder$"),
        "fifo.mp4": ("../special/fifo.mp4", r"^not a regular file \(FIFO\)$"),
    }.items():
        folder.none(f"links/{name}", reason).symlink_to(target)
    folder.none("special/folder.mp4", "^a folder$").mkdir(parents=True)
    for name, kind, text in (("fifo", stat.S_IFIFO, "FIFO"), ("socket", stat.S_IFSOCK, "socket")):
        path = folder.none(f"special/{name}.mp4", rf"^not a regular file \({text}\)$")
        os.mknod(path, kind | 0o600)
    if os.geteuid():  # the superuser may read everything
        denied = folder.none("denied/a.mp4", "^not readable: permission denied$", b"a")
        denied.chmod(0)
