"""What is measured, against a floor measured in the same run on the same machine, as ratios.

Absolute figures say more of the machine than of the system: so each figure stands beside what the
database alone, or the service without the gateway, does in the same minute. Nothing here asserts; a
missed target is printed as missed.
"""
