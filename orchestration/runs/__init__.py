"""One run: what its code may call, and the record from which it goes on after a crash.

A run whose process has died is taken up by `engines.local`, or by a worker of `engines.procrastinate`, and
runs again from the top: `run` says what its calls do then, `replay` matches them with the record, and
`interruptions` decides about a step that had begun. `manual_resumption` is for runs that a person has to
continue.
"""
