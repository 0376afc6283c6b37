"""int8 Graph to C: no interpreter, no allocation, every byte as TFLite's reference kernels make it.

Read in this order:

    source.py    what lowering reads of a Graph
    lower.py     Graph -> Program: integer parameters for every op, tables for chains of elementwise ops;
                 lower_int16.py: which ops have a kernel for int16 activations (16x8)
    prune.py     Program -> Program: channels that are constant go into biases
    narrow.py    Program -> Program: weights of one byte where flash is preferred
    schedule.py  runs of layers that pass rows on to each other, simulated row by row
    plan.py      which runs to take, and where everything lies in the arena
    emit.py      Program and plan -> NAME.c; header.py -> NAME.h; project.py -> the rest of the folder
    compile.py   all of it in order, and what the toolchain here can measure
    tflm.py, vela.py   the two other ways to a microcontroller

An op is one file of `ops`: how it becomes integers, how its output depends on its inputs, and the C call that it is.
Its arithmetic is one file of `kernels`, real C that becomes part of NAME.c; the fast sets (`dsp_`, `mve_`) keep the
same arithmetic in C beside the assembly, so that a host and its sanitizers can run them.
"""
