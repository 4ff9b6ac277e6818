"""What each verb of `scalinglaws collect` does: parsed arguments in, text or JSON out, an exit code back.

A module is imported when one of its verbs runs (collect/cli/late.py); those of torch and diffusers take seconds.
"""
