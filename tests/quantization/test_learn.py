"""The training step, its losses and its schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import execute
from mnedge.quantization.calibrate import observe
from mnedge.quantization.learn import Losses, cosine_rate, make_step
from mnedge.quantization.parameters import initial_parameters
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.scheme import scheme_of
from mnedge.quantization.student import Student


def student_of(graph: Any, images: np.ndarray) -> Student:
    scheme = scheme_of(graph, images)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))
    return Student(scheme, parameters)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    rates = [cosine_rate(fraction) for fraction in np.linspace(0, 1, 101)]
    assert rates[0] == 0.0
    assert np.isclose(max(rates), 1.0)
    assert np.argmax(rates) == 5
    assert np.isclose(rates[-1], 0.0)
    assert np.all(np.diff(rates[5:]) < 0)


@pytest.mark.parametrize("output", ["scores", "logits"])
def test_steps_bring_the_student_closer(separable: Any, images: Any, output: str) -> None:
    import tensorflow as tf

    student = student_of(separable().graph(output), images(16))
    # A student whose biases are off, so that there is something to learn.
    student.variables["biases"].assign_add(np.full(student.variables["biases"].shape, 0.03, np.float32))
    step, state = make_step(student, Losses(), {"biases": 2e-3, "weights": 2e-2, "ranges": 1e-3, "scales": 1e-3})
    unknown = tf.fill((16,), -1)
    losses = [float(sum(step(tf.constant(images(16)), unknown, tf.constant(1.0)))) for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    assert float(state[0]) == 25


def test_a_rate_of_zero_leaves_its_kind_alone(separable: Any, images: Any) -> None:
    import tensorflow as tf

    student = student_of(separable().graph(), images(8))
    before = {kind: variable.numpy().copy() for kind, variable in student.variables.items()}
    step, _ = make_step(student, Losses(), {"biases": 1e-3})
    step(tf.constant(images(8)), tf.fill((8,), -1), tf.constant(1.0))
    changed = {kind for kind, variable in student.variables.items() if not np.array_equal(variable, before[kind])}
    assert changed == {"biases"}


def test_labels_pull_where_there_are_any(separable: Any, images: Any) -> None:
    import tensorflow as tf

    graph = separable().graph()
    labels = tf.constant([2] * 8 + [-1] * 8)
    scores = []
    for weight in (0.0, 5.0):
        student = student_of(graph, images(16))
        step, _ = make_step(student, Losses(blocks=0.0, outputs=0.0, labels=weight), {"biases": 1e-2})
        for _ in range(10):
            step(tf.constant(images(16)), labels, tf.constant(1.0))
        scores.append(student.forward(images(16))["scores"].numpy()[:, 2].mean())
    plain = execute(graph, {"x": tf.constant(images(16))})["scores"].numpy()[:, 2].mean()
    assert abs(scores[0] - plain) < 0.1
    assert scores[1] > scores[0] + 0.1
