"""A recipe over a grid of values, on this machine or on a cluster.

Read in this order:

    run.py       READ FIRST: `sweep(recipe, over, …)`, the verb
    steps.py     the steps in their order
    grid.py      the points of the grid
    worker.py    a worker: builds the artifacts of a point, evaluates one on a shard of pictures
    requests.py  the requests to it
    parcels.py   pictures, weights and artifacts on their way, by the checksum of what is in them
    dispatch.py  units of work to workers; a worker that dies costs its unit only
    processes.py workers on this machine: processes that share the cores
    cluster.py   workers of a Dask cluster
    account.py   the `SweepResult`: sweep.json, sweep.html
"""
