"""The pictures that a person names, how they are read, and where they go once something is drawn into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from mnedge import artifact
from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.data.listing import PICTURES, listing_of
from mnedge.data.preprocess import SKIP, Preprocessing, fit, kept, opened, picture_size, rgb, upright_size
from mnedge.data.video import Frame, frames, is_video
from mnedge.errors import InputError
from mnedge.foreign import is_folder, is_there
from mnedge.validation.answers import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.data.preprocess import Size

    # A picture's file, or a frame of a video.
    Named = Path | Frame


def found_at(places: Sequence[Path], every_s: float = 1.0) -> dict[Named, PurePath]:
    """The pictures at some places, in order, each with its path below the place.

    Args:
        places: Files, videos, and folders of pictures.
        every_s: Seconds from one frame of a video to the next; 0 for every frame.

    Raises:
        InputError: There is nothing at a place, no picture in a folder, or a video cannot be read.
    """
    found: dict[Named, PurePath] = {}
    for place in places:
        if not is_there(place):
            raise InputError(f"{place} does not exist; give pictures, videos, or folders of pictures")
        if is_video(place) and not is_folder(place):
            for frame in frames(place, every_s):
                # Names in the order of time.
                found[frame] = PurePath(f"{place.stem}-{round(1000 * frame.at_s):09d}ms")
            continue
        if not is_folder(place):
            found.setdefault(place, PurePath(place.name))
            continue
        listing = listing_of(place)
        if not listing.pictures:
            raise InputError(
                f"{place} holds no pictures{f', but {listing.summary()}' if listing.files else ' and no other files'}; "
                f"pictures are {', '.join(PICTURES)}; name videos one by one"
            )
        for file in listing.pictures:
            found.setdefault(file, file.relative_to(place))
    if not found:
        raise InputError("no pictures are given; name files, or folders of pictures")
    return found


def drawn_at(
    save: Path, found: Mapping[Named, PurePath], places: Sequence[Path | str], *, force: bool
) -> dict[Named, Path]:
    """Returns the place of each drawn picture: its own name below the folder, as .png.

    Raises:
        InputError: One of them would be in the way of a file that is not mnedge's, or be looked at the next time.
    """
    real = save.resolve()
    for place in map(Path, places):
        if is_folder(place) and real.is_relative_to(place.resolve()):
            raise InputError(
                f"--save {save} lies in {place}, whose pictures are looked at, and what is drawn would be among them "
                "the next time; choose a folder elsewhere"
            )
    artifact.check_reachable(save)
    targets: dict[Named, Path] = {}
    taken = {path_of(file).resolve() for file in found}
    for file, below in found.items():
        target = save / below.with_suffix(".png")
        count = 2
        # Pictures of one name in several folders, and a.jpg beside a.png.
        while target.resolve() in taken:
            target = save / below.with_name(f"{below.stem}-{count}.png")
            count += 1
        artifact.check_file(target, force=force)
        taken.add(target.resolve())
        targets[file] = target
    return targets


def path_of(named: Named) -> Path:
    """The file of a picture or of a video's frame."""
    return named.path if isinstance(named, Frame) else named


@dataclass(eq=False)
class NamedPictures:
    """The pictures that a model looks at, and what became of them.

    Attributes:
        files: In order.
        preprocessing: Preprocessing of the pictures.
        seen: Those that were read, by their number.
        broken: Faults of the others, by their number.
    """

    files: tuple[Named, ...]
    preprocessing: Preprocessing
    seen: dict[int, Seen] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)

    def read(self, number: int, size: Size) -> NDArray[np.uint8]:
        """Reads one: uint8, (height, width, 3), RGB."""
        file, how = self.files[number], self.preprocessing
        height, width = (size, size) if isinstance(size, int) else size
        if isinstance(file, Frame):
            return self._read_frame(number, file, (height, width))
        try:
            with opened(file, least=max(height, width) / how.crop_fraction) as upright:
                # A large JPEG is decoded smaller, and its boxes are told in its own pixels all the same.
                whole = upright.size
                if sorted(whole) != sorted(picture_size(file)):
                    whole = upright_size(file)
                across, down = whole[0] / upright.width, whole[1] / upright.height
                left, top, right, bottom = kept(upright, how, width / height)
                pixels = fit(rgb(upright, how.white), (height, width), how)
        except InputError as exc:
            self.broken[number] = str(exc).removesuffix(SKIP)
            raise
        self.seen[number] = Seen(whole, (left * across, top * down, right * across, bottom * down))
        return pixels

    def _read_frame(self, number: int, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint8]:
        from PIL import Image

        try:
            shown = Image.fromarray(frame.pixels())
        except InputError as exc:
            self.broken[number] = str(exc)
            raise
        self.seen[number] = Seen(shown.size, kept(shown, self.preprocessing, size[1] / size[0]))
        return fit(shown, size, self.preprocessing)

    def upright(self, number: int) -> NDArray[np.uint8]:
        """Reads one in its own size: uint8, (height, width, 3), RGB."""
        file = self.files[number]
        if isinstance(file, Frame):
            return file.pixels()
        with opened(file) as upright:
            return np.asarray(rgb(upright, self.preprocessing.white))

    def dataset(self) -> Dataset:
        """The pictures as a data set without labels, splits and names of classes."""
        return Dataset(
            name="the pictures",
            classes=(),
            fixed_classes=False,
            labels=np.full(len(self.files), -1, np.int64),
            splits={},
            sources=tuple(str(path_of(file)) for file in self.files),
            read=self.read,
            content=Content(tuple(map(path_of, self.files))),
            preprocessing=self.preprocessing,
            skip_broken=True,
        )
