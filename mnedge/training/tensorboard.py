"""Epochs as event files that TensorBoard reads; TensorFlow writes them, so TensorBoard need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.results.training import Epoch


def tensorboard_log(folder: Path) -> Callable[[Epoch], None]:
    """Makes the function that writes an epoch as scalars: FOLDER/head and FOLDER/fine-tune are the runs.

    Args:
        folder: The log directory.
    """
    import tensorflow as tf

    writers: dict[str, tf.summary.SummaryWriter] = {}

    def write(epoch: Epoch) -> None:
        if epoch.phase not in writers:
            writers[epoch.phase] = tf.summary.create_file_writer(str(folder / epoch.phase))
        scalars = {
            "train/loss": epoch.loss,
            "train/learning_rate": epoch.learning_rate,
            "train/seconds": epoch.seconds,
            **{f"validation/{name}": value for name, value in epoch.scores.items()},
        }
        with writers[epoch.phase].as_default(step=epoch.number):
            for name, value in scalars.items():
                # tf.summary.scalar does this too, but is part of TensorBoard.
                metadata = tf.compat.v1.SummaryMetadata(
                    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
                )
                tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
        writers[epoch.phase].flush()

    return write
