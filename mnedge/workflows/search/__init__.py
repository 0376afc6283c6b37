"""Search for the variant that fits: figures rule out what a device cannot take; the rest is ranked and trained.

Read in this order:

    run.py            READ FIRST: `search(target, …)`, the verb
    steps.py          the steps in their order
    candidates.py     the variants that are looked at
    limits.py         what the user allows, and which limit a variant breaks
    published.py      ImageNet top-1 of each variant: printed, or estimated from what is printed
    footprint.py      arena and flash from the compiler's own plan
    latency_model.py  a model of latency from a handful of measurements, and its error
    timing.py         the measurements: this machine, a board, executed instructions, or Vela's estimate
    halving.py        successive halving, https://arxiv.org/abs/1502.07943
    trainer.py        training on the user's data
    outcome.py        what was found, the choice, the nearest miss
    account.py        the same as a `SearchResult`: search.json, search.html and recipe.yaml
"""
