"""`wtp doctor`: looks at this machine, the router and the broker, and says what to mend.

One module per subject. A check is an async function that takes a `Subject` and returns findings; it
looks and never starts or changes anything. `run.diagnose` runs all of them side by side, each with
a limit of time, and turns whatever a check did not foresee into the state `unknown`.
"""
