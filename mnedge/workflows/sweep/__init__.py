"""A recipe over a grid of values, on this machine or on a cluster.

Read in this order:

    run.py       READ FIRST: `sweep(settings)`, the steps in their order
    grid.py      the points of the grid
    tasks.py     what a worker does: build the artifacts of a point, evaluate one on a shard of pictures
    parcels.py   pictures, weights and artifacts on their way, by the checksum of what is in them
    dispatch.py  tasks to workers; a worker that dies costs its task only
    processes.py workers on this machine: processes that share the cores
    cluster.py   workers of a Dask cluster
    account.py   sweep.json, sweep.html
"""
