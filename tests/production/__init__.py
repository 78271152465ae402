"""The production form, run for real without containers: what `docker-compose.yml` names, as processes.

compose.py    the file read as Docker Compose reads it
places.py     where things are natively: the one table of what differs from the file
postgres.py   its PostgreSQL and the roles
kafka.py      its broker, the accounts and the grants
container.py  one container as a process that is started again when it ends
balancer.py   one address before several replicas
ground.py     all of it together
"""
