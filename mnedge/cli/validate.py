"""`mnedge validate`: accuracy of artifacts, and their agreement."""

from __future__ import annotations

from pathlib import Path

import click

from mnedge.cli._output import json_option, print_json, progress


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", default="demo", show_default=True, help="demo, a folder, or a labels.csv.")
@click.option("--split", default="eval", show_default=True, help="Which split of the data.")
@click.option("--images", type=click.IntRange(min=1), help="Use at most so many pictures.")
@click.option("--device", "uris", multiple=True, default=("local",), show_default=True, help="Device URI; repeatable.")
@click.option("--skip-broken", is_flag=True, help="Leave broken pictures out instead of stopping.")
@json_option
def command(
    artifacts: tuple[Path, ...],
    data: str,
    split: str,
    images: int | None,
    uris: tuple[str, ...],
    skip_broken: bool,
    as_json: bool,
) -> None:
    """Measure top-1 and top-5 of ARTIFACTS on labelled pictures, and how far they agree.

    \b
    mnedge validate model.int8.tflite model.fp32.tflite --data photos/labels.csv
    mnedge validate model.int8.tflite --data photos --device ssh://pi@raspberrypi.local
    """
    from mnedge.data import open_dataset
    from mnedge.report.terminal import print_report
    from mnedge.validation.compare import validate

    dataset = open_dataset(data, skip_broken=skip_broken)
    with progress() as told:
        result = validate(artifacts, dataset, dataset.split(split, images), uris, told)
    if as_json:
        print_json(result)
    else:
        print_report(result)
