"""NAME_objects.c of a detector: from the raw outputs of NAME_run to objects, in room that the caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.anchors import CENTRE_SCALE, EXTENT_SCALE
from mnedge.data.detections import METADATA, of_metadata
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.codegen.emit import Unit
    from mnedge.data.detections import Decoding
    from mnedge.graph.graph import Graph

_BOXES, _SCORES = "boxes", "scores"

_HEADER = """/* Objects in what @NAME@_run gave: boxes are decoded, and of two that overlap the surer one stays. */
#ifndef @UPPER@_OBJECTS_H
#define @UPPER@_OBJECTS_H

#include <stdint.h>

#define @UPPER@_OBJECTS_MOST @MOST@ /* objects that are reported, at most */
#define @UPPER@_OBJECTS_LEAST_SCORE @LEAST@f /* of what is reported */
#define @UPPER@_OBJECTS_OVERLAP @OVERLAP@f /* IoU above which the less sure one of a class is dropped */
#define @UPPER@_OBJECTS_CLASSES @CLASSES@

#ifdef __cplusplus
extern "C" {
#endif

/* Corners in fractions of the picture, 0 to 1. */
typedef struct {
    float y1, x1, y2, x2;
    float score;
    int32_t label;
} @NAME@_object;

/* Reads the output of @NAME@_run, and writes the objects that it shows, the surest first. There is room for @MOST@ of
 * them. Returns how many there are. Nothing is allocated, and the output stays as it is. */
int32_t @NAME@_objects(const @OUT@ *output, @NAME@_object *objects);

#ifdef __cplusplus
}
#endif

#endif
"""

_SOURCE = """/* @DESCRIPTION@ */
#include "@NAME@_objects.h"

#include <math.h>

#include "@NAME@.h"

#define CLASSES @CLASSES@
#define PER_CELL @PER_CELL@
#define MAPS @MAPS@
#define ANCHORS @ANCHORS@

/* Feature maps: rows and columns of cells; then height and width of each anchor of a cell. */
static const uint8_t sides[MAPS][2] = {@SIDES@};
static const float shapes[MAPS][PER_CELL][2] = {
@SHAPES@
};

/* Undoes Liu et al. 2016 (SSD), eq. 2, for one anchor. */
static void decode(const @OUT@ *codes, int32_t anchor, float *corners)
{
    int map = 0;
    while (anchor >= sides[map][0] * sides[map][1] * PER_CELL) {
        anchor -= sides[map][0] * sides[map][1] * PER_CELL;
        map++;
    }
    const int32_t cell = anchor / PER_CELL;
    const int32_t place[2] = {cell / sides[map][1], cell % sides[map][1]};
    const float *shape = shapes[map][anchor % PER_CELL];
    for (int axis = 0; axis < 2; axis++) {
        const float moved = @BOX_SCALE@f * (float)(codes[axis] - @BOX_ZERO@) / @CENTRE@f;
        const float grown = @BOX_SCALE@f * (float)(codes[2 + axis] - @BOX_ZERO@) / @EXTENT@f;
        const float centre = moved * shape[axis] + ((float)place[axis] + 0.5f) / (float)sides[map][axis];
        const float half = expf(grown) * shape[axis] / 2.0f;
        corners[axis] = centre - half;
        corners[2 + axis] = centre + half;
    }
}

static float span(float low, float high)
{
    return high > low ? high - low : 0.0f;
}

/* Whether two boxes overlap by more than the limit; as a product, so that nothing is divided by empty boxes. */
static int overlaps(const float *one, const @NAME@_object *other)
{
    const float shared = span(one[0] > other->y1 ? one[0] : other->y1, one[2] < other->y2 ? one[2] : other->y2) *
                         span(one[1] > other->x1 ? one[1] : other->x1, one[3] < other->x2 ? one[3] : other->x2);
    const float both = span(one[0], one[2]) * span(one[1], one[3]) +
                       span(other->y1, other->y2) * span(other->x1, other->x2);
    return shared > @UPPER@_OBJECTS_OVERLAP * (both - shared);
}

static float inside(float value)
{
    return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
}

int32_t @NAME@_objects(const @OUT@ *output, @NAME@_object *objects)
{
    const @OUT@ *scores = output + @UPPER@_@SCORES@_OFFSET;
    const @OUT@ *boxes = output + @UPPER@_@BOXES@_OFFSET;
    int32_t found = 0;
    int32_t at_level[256] = {0};
    for (int32_t i = 0; i < ANCHORS * CLASSES; i++) {
        at_level[scores[i] - (@LOWEST@)]++;
    }
    /* From the highest step down; of equal scores the lower class and the earlier anchor come first. */
    for (int32_t step = @HIGHEST@; step >= @FIRST_STEP@ && found < @MOST@; step--) {
        if (at_level[step - (@LOWEST@)] == 0) {
            continue;
        }
        for (int32_t label = 0; label < CLASSES; label++) {
            for (int32_t anchor = 0; anchor < ANCHORS && found < @MOST@; anchor++) {
                float corners[4];
                int dropped = 0;
                if (scores[anchor * CLASSES + label] != step) {
                    continue;
                }
                decode(boxes + 4 * anchor, anchor, corners);
                for (int32_t i = 0; i < found && !dropped; i++) {
                    dropped = objects[i].label == label && overlaps(corners, &objects[i]);
                }
                if (!dropped) {
                    objects[found].y1 = corners[0];
                    objects[found].x1 = corners[1];
                    objects[found].y2 = corners[2];
                    objects[found].x2 = corners[3];
                    objects[found].score = @SCORE_SCALE@f * (float)(step - (@SCORE_ZERO@));
                    objects[found].label = label;
                    found++;
                }
            }
        }
    }
    /* Cut only now: overlaps are those of whole boxes. */
    for (int32_t i = 0; i < found; i++) {
        objects[i].y1 = inside(objects[i].y1);
        objects[i].x1 = inside(objects[i].x1);
        objects[i].y2 = inside(objects[i].y2);
        objects[i].x2 = inside(objects[i].x2);
    }
    return found;
}
"""


def objects_sources(unit: Unit, graph: Graph) -> dict[str, str]:
    """The decoder of a detector, {file name: text}; {} for any other model.

    It gives what `data.detections.detect` gives: the same boxes, the same ranks. It needs the flash of its code and of
    the shapes, no table of anchors, 1 KiB of stack, and `expf`.

    Args:
        unit: The compiled model.
        graph: Graph that it was compiled from, with the anchors in its metadata.

    Raises:
        UnsupportedError: The outputs are not those of the anchors.
    """
    if METADATA not in graph.metadata or set(graph.outputs) != {_BOXES, _SCORES}:
        return {}
    decoding = of_metadata(graph.metadata[METADATA])
    words = _words(unit, graph, decoding)
    return {f"{unit.name}_objects.{kind}": _filled(text, words) for kind, text in (("h", _HEADER), ("c", _SOURCE))}


def _words(unit: Unit, graph: Graph, decoding: Decoding) -> dict[str, str]:
    scores, boxes = graph.tensors[_SCORES], graph.tensors[_BOXES]
    anchors, classes = len(decoding.anchors), scores.shape[2]
    if scores.shape[1] != anchors or max(map(max, decoding.sides)) > 255:
        raise UnsupportedError(f"the outputs of {unit.name} have {scores.shape[1]} rows for {anchors} anchors")
    assert scores.quantization is not None
    assert boxes.quantization is not None
    score_scale, score_zero = float(scores.quantization.scale[0]), int(scores.quantization.zero_point[0])
    limits = np.iinfo(scores.dtype)
    first = int(np.ceil(decoding.least_score / score_scale - 1e-6)) + score_zero
    places = {name: f"OUTPUT{number}" for number, name in enumerate(graph.outputs)}
    return {
        "NAME": unit.name,
        "UPPER": unit.name.upper(),
        "DESCRIPTION": unit.description,
        "OUT": f"{scores.dtype}_t",
        "MOST": str(decoding.most),
        "LEAST": repr(decoding.least_score),
        "OVERLAP": repr(decoding.overlap),
        "CLASSES": str(classes),
        "PER_CELL": str(decoding.shapes.shape[1]),
        "MAPS": str(len(decoding.sides)),
        "ANCHORS": str(anchors),
        "SIDES": ", ".join(f"{{{height}, {width}}}" for height, width in decoding.sides),
        "SHAPES": ",\n".join(
            "    {" + ", ".join(f"{{{_float(height)}, {_float(width)}}}" for height, width in own) + "}"
            for own in decoding.shapes
        ),
        "BOX_SCALE": repr(float(boxes.quantization.scale[0])),
        "BOX_ZERO": f"({int(boxes.quantization.zero_point[0])})",
        "CENTRE": repr(CENTRE_SCALE),
        "EXTENT": repr(EXTENT_SCALE),
        "SCORES": places[_SCORES],
        "BOXES": places[_BOXES],
        "SCORE_SCALE": repr(score_scale),
        "SCORE_ZERO": str(score_zero),
        "LOWEST": str(limits.min),
        "HIGHEST": str(limits.max),
        "FIRST_STEP": str(max(first, int(limits.min))),
    }


def _float(value: np.float32) -> str:
    return f"{float(value):.9g}f" if "." in f"{float(value):.9g}" or "e" in f"{float(value):.9g}" else f"{value:.1f}f"


def _filled(text: str, words: dict[str, str]) -> str:
    for key, word in words.items():
        text = text.replace(f"@{key}@", word)
    return text
