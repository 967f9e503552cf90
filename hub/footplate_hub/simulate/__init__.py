"""What would have happened: a trace replayed through the queue in simulated time.

`replay.replay` runs the same `queue.schedule.schedule` that the service runs, event by event.
"""
