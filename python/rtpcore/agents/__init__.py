"""Agents: who works in a room because the room asked for it, taken from a pool of workers.

::

    room, participant, CreateDispatch ──▶ Pool ──▶ effects ──▶ Dispatcher ──▶ workers' sockets, rooms
                                           ▲
       workers' answers, agents' coming and going, time

`pool` decides and is pure: no socket, no clock, no randomness of its own. `dispatcher` performs, `worker` is the
websocket of one worker.
"""

from rtpcore.agents.counting import Counts
from rtpcore.agents.dispatcher import Dispatcher
from rtpcore.agents.job import Job, Kind, State
from rtpcore.agents.limits import Limits
from rtpcore.agents.place import Dispatch, Place
from rtpcore.agents.pool import Pool
from rtpcore.agents.workers import Worker

__all__ = ["Counts", "Dispatch", "Dispatcher", "Job", "Kind", "Limits", "Place", "Pool", "State", "Worker"]
