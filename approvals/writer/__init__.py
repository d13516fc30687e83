"""The only code that changes requests: carries out queued commands, a batch in one transaction.

`queue` collects commands; `execution` has the transaction; `rows` locks and reads what the commands need;
`rules` decide, in memory, what becomes of each request; `Batch.write` in `batch` then writes all of it. So
the statement that closes requests, be it for a decision, a deadline or a withdrawal, is the UPDATE in
`Batch.write`.
"""
