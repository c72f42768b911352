"""Trainings by several processes: each test starts `worker.py` by mpiexec."""
