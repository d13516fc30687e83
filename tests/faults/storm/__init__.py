"""A storm: thousands of errands ask, people decide, deadlines pass, parts die; then the audit.

`python -m tests.faults.storm --minutes 10 --seed 1` starts PostgreSQL, Redis, a mail server, two servers and
two workers of its own. People decide over the API, by sockets, by the links in their messages, and for
somebody who is away; one is in quiet hours. What breaks when follows from the seed alone (schedule.py), and
so does what is asked, and who means to answer what (errands.py); which of two racers is first does not.
Everybody who is told something notes it in a ledger outside of the database, and so does each step that has
an effect. In the end the audit holds the database against it: nothing may be missing, nothing may be there
twice, and nobody may have been told another thing than what is on record. Everybody who had to hear of a
request was told of it, once, and nobody else was.
"""
