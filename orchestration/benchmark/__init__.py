"""Measure what Sayso costs on the machine at hand: `manage.py benchmark`.

A scenario (scenarios/) is one declared object: what it measures, what it needs, its sizes and the tables,
goals and charts that it reports (report.py). An installation of the benchmark's own (installation.py)
gives each an environment with a fresh database, in which it starts processes and servers (processes.py,
child.py). No row of the installation that the command is called in is touched.
"""
