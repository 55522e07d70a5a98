"""Actors that take turns: one step of one of them at a time, in an order drawn from a seed, to try orders that are rare."""

from random import Random
from threading import Semaphore, Thread, current_thread


class Actor(Thread):
    """A function that moves from one call of `step` to the next whenever it is let."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function, self._go, self._stopped = function, Semaphore(0), Semaphore(0)
        self.error, self.has_ended = None, False
        self.start()

    def run(self):
        self._go.acquire()
        try:
            self._function()
        except BaseException as error:
            self.error = error
        self.has_ended = True
        self._stopped.release()

    def move(self):
        self._go.release()
        self._stopped.acquire()

    def pause(self):
        self._stopped.release()
        self._go.acquire()


def step():
    """Let another actor move, or this one again; nothing on other threads."""
    actor = current_thread()
    if isinstance(actor, Actor):
        actor.pause()


def take_turns(functions, seed):
    """Let all of them run to their ends; what the first one raised is raised."""
    random, actors = Random(seed), [Actor(function) for function in functions]
    moving = list(actors)
    while moving:
        actor = random.choice(moving)
        actor.move()
        if actor.has_ended:
            moving.remove(actor)
    for actor in actors:
        if actor.error is not None:
            raise actor.error
