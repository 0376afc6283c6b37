"""The Arduino sketches of a microcontroller bundle, one a task, with @WORDS@ to fill in."""

from __future__ import annotations

_CLASSIFY = """// Classifies `picture` once a second, and says how long it took; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // RGB, row by row; an int8 model takes pixel - 128
static @OUT@ scores[@UPPER@_OUTPUT_BYTES];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, scores, arena);
  const unsigned long spent_us = micros() - started;
  int best = 0;
  for (int index = 1; index < @UPPER@_OUTPUT_BYTES; index++) {
    if (scores[index] > scores[best]) {
      best = index;
    }
  }
  Serial.print(status == 0 ? @NAME@_labels[best] : "arena is not aligned");
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

_DETECT = """// Finds objects in `picture` once a second, and says where; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>
#include <@NAME@_objects.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // RGB, row by row; an int8 model takes pixel - 128
static @OUT@ output[@UPPER@_OUTPUT0_BYTES + @UPPER@_OUTPUT1_BYTES];
static @NAME@_object objects[@UPPER@_OBJECTS_MOST];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, output, arena);
  const int32_t found = status == 0 ? @NAME@_objects(output, objects) : 0;
  const unsigned long spent_us = micros() - started;
  for (int32_t index = 0; index < found; index++) {
    const @NAME@_object *one = &objects[index];
    const float values[5] = {one->score, one->y1, one->x1, one->y2, one->x2};
    Serial.print(@NAME@_labels[one->label]);
    for (int at = 0; at < 5; at++) {
      Serial.print(' ');
      Serial.print(values[at], 3);
    }
    Serial.println();
  }
  Serial.print(status == 0 ? "objects" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

_SEGMENT = """// Says once a second which share of `picture` each class has; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // RGB, row by row; an int8 model takes pixel - 128
static @OUT@ output[@UPPER@_OUTPUT_BYTES / sizeof(@OUT@)];

// Of a pixel of the mask, row by row.
static int class_of(long pixel) {
@CLASS_OF@
}

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, output, arena);
  const unsigned long spent_us = micros() - started;
  long counts[@CLASSES@] = {0};
  for (long pixel = 0; status == 0 && pixel < (long)@PIXELS@; pixel++) {
    counts[class_of(pixel)]++;
  }
  for (int index = 0; index < @CLASSES@; index++) {
    Serial.print(@NAME@_labels[index]);
    Serial.print(' ');
    Serial.print(100.0f * (float)counts[index] / (float)@PIXELS@, 1);
    Serial.println(" %");
  }
  Serial.print(status == 0 ? "segmented" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

# Of a class map, and of scores.
INDEX_OF_PIXEL = "  return (int)output[pixel];"
BEST_OF_PIXEL = """  const @OUT@ *scores = output + pixel * @CLASSES@;
  int best = 0;
  for (int index = 1; index < @CLASSES@; index++) {
    if (scores[index] > scores[best]) {
      best = index;
    }
  }
  return best;"""

_EMBED = """// Says once a second how alike `picture` is to the first one, at most 1; put your camera's pixels there.
#include <@NAME@.h>
#include <math.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // RGB, row by row; an int8 model takes pixel - 128
static @OUT@ first[@UPPER@_OUTPUT_BYTES], vector[@UPPER@_OUTPUT_BYTES];
static bool has_first = false;

// The cosine of two embeddings.
static float alike(const @OUT@ *one, const @OUT@ *two) {
  int32_t dot = 0, length_1 = 0, length_2 = 0;
  for (int at = 0; at < @UPPER@_OUTPUT_BYTES; at++) {
    const int32_t a = one[at] - @UPPER@_OUTPUT_ZERO_POINT, b = two[at] - @UPPER@_OUTPUT_ZERO_POINT;
    dot += a * b;
    length_1 += a * a;
    length_2 += b * b;
  }
  return length_1 > 0 && length_2 > 0 ? (float)dot / sqrtf((float)length_1 * (float)length_2) : 0.0f;
}

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, has_first ? vector : first, arena);
  const unsigned long spent_us = micros() - started;
  Serial.print(status == 0 ? "alike" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(status == 0 ? alike(first, has_first ? vector : first) : 0.0f, 3);
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  has_first = has_first || status == 0;
  delay(1000);
}
"""

# The example that belongs to each task.
SKETCHES = {"classify": _CLASSIFY, "detect": _DETECT, "segment": _SEGMENT, "embed": _EMBED}
