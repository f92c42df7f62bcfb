"""When things run: the night's jobs, the schedule, and what follows on what.

Here belong jobs, schedules, sensors, retention and alerts. What a step does is decided in `assets/`, what
is pending in `gates/plan.py`.
"""
