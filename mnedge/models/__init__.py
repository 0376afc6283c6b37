"""The families as tables of rows, and their Keras builders."""
