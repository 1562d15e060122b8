"""Work shared out to processes: Python's lock lets one process use one core only.

`team` gives tasks out and takes their answers in order; `process` is what a worker does, how it begins and how it ends;
`memory` is what the main process shares with it. Nothing here knows what the work is.
"""
