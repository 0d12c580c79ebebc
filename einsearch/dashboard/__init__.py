"""`einsearch dashboard`: the studies of a store in optuna-dashboard.

Nothing is written to the store. Every few seconds what changed there is made into a read-only Optuna
storage in memory (`view`), which optuna-dashboard shows.
"""
