"""Explores all orders of steps: requests, lost responses, crashes and rebalances."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from tests.model.cluster import (
    Cluster,
    Request,
    can_act,
    handle,
    markers,
    move_coordinator,
    other_broker,
    outdated_answer,
    time_out,
    write_marker,
)
from tests.model.replica import FINISHED, LOST, Event, Node, Rules, Run, step


class Budget(NamedTuple):
    """The maximum number of faults in one history."""

    lost: int = 0  # responses
    crashes: int = 0
    rebalances: int = 0  # without a crash
    switches: int = 0  # to another replica while the previous one could continue
    moves: int = 0  # of the group's coordinator to the other broker
    outdated: int = 0  # look-ups that name the former coordinator, which may answer as if it still were it


CRASHED, FENCED_REPLICA, FINISHED_REPLICA = -1, -2, -3
"""Replicas that have ended; others have the number of their node."""


class State(NamedTuple):
    """The complete state: the brokers, the replicas by generation, and abandoned requests."""

    cluster: Cluster
    replicas: tuple[int, ...]
    late: tuple[Request, ...]
    budget: Budget
    running: int = 1  # the generation of the replica that made the last step


class Violation(NamedTuple):
    """A violated property, and the steps that lead to it."""

    what: str
    steps: list[str]


class Exploration:
    """A depth-first search that visits each state once."""

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self._rules = rules
        self._budget = budget
        self._nodes: list[Node] = []
        self._numbers: dict[int, int] = {}
        self._roots: dict[int, int] = {}
        self._origins: dict[State, tuple[State | None, str]] = {}
        self.runs: list[Run] = []

    @property
    def states(self) -> int:
        return len(self._origins)

    async def run(self) -> Violation | None:
        """The first violation, if there is one."""
        first = State(Cluster(), (await self._root(1),), (), self._budget)
        self._origins[first] = (None, "")
        stack = [first]
        while stack:
            state = stack.pop()
            following = [each async for each in self._following(state)]
            at_rest = not any(progress for progress, _, _ in following)
            if what := self._violation(state, at_rest=at_rest):
                return Violation(what, self._steps(state))
            for _, description, reached in following:
                if reached not in self._origins:
                    self._origins[reached] = (state, description)
                    stack.append(reached)
        return None

    async def end(self) -> None:
        """End the replicas that are still waiting."""
        for run in self.runs:
            await run.end()

    async def _root(self, generation: int) -> int:
        if generation not in self._roots:
            run = self._begin(generation)
            await run.advance(None)
            self._roots[generation] = self._number(run.node(None, None))
        return self._roots[generation]

    def _begin(self, generation: int) -> Run:
        self.runs.append(Run(generation, self._rules))
        return self.runs[-1]

    def _number(self, node: Node) -> int:
        if node.outcome is not None:  # its history is irrelevant from here on
            return FINISHED_REPLICA if node.outcome == FINISHED else FENCED_REPLICA
        if id(node) not in self._numbers:
            self._numbers[id(node)] = len(self._nodes)
            self._nodes.append(node)
        return self._numbers[id(node)]

    async def _following(self, state: State) -> AsyncIterator[tuple[bool, str, State]]:
        """The successor states, each with whether the step is progress, and its description."""
        waits = True  # until time passes
        for transactional_id, target in markers(state.cluster):
            waits = False
            cluster = write_marker(state.cluster, transactional_id, target)
            yield True, f"marker of {transactional_id} in {target}", _clean(state._replace(cluster=cluster))
        async for answered, description, reached in self._requests(state):
            waits = waits and not answered
            if reached is not None:
                yield answered, description, reached
        for position, request in enumerate(state.late):
            late = state.late[:position] + state.late[position + 1 :]
            cluster, answer = handle(state.cluster, request)
            yield True, f"late: {_describe(request)} -> {answer}", _clean(state._replace(cluster=cluster, late=late))
        for generation, replica in enumerate(state.replicas, 1):
            if state.budget.crashes and replica >= 0:
                yield False, f"{generation} crashes", self._crashed(state, generation)
        if state.budget.moves:
            budget = state.budget._replace(moves=state.budget.moves - 1)
            yield False, "the coordinator moves", state._replace(cluster=move_coordinator(state.cluster), budget=budget)
        owner = state.replicas[-1]
        if owner == CRASHED or (state.budget.rebalances and owner >= 0):
            yield owner == CRASHED, "rebalance", await self._rebalanced(state)
        if waits and any(each.state == "Ongoing" for each in state.cluster.transactions):
            yield True, "time-out", _clean(state._replace(cluster=time_out(state.cluster)))

    async def _requests(self, state: State) -> AsyncIterator[tuple[bool, str, State | None]]:
        """Process requests of replicas, or lose their responses; None if the switch would exceed the budget."""
        steps = [(*each, *handle(state.cluster, each[2])) for each in self._unanswered(state)]
        able = {step[0] for step in steps if step[3:] != (state.cluster, None)}
        for generation, number, request, cluster, answer in steps:
            after = _switched(state, generation, free=state.running not in able)
            description = f"{generation}: {_describe(request)}"
            if after is None:
                yield generation in able, description, None
                continue
            if answer is not None:
                reached = await self._after(after._replace(cluster=cluster), generation, (number, answer))
                yield True, f"{description} -> {answer}", reached
            elif cluster != state.cluster:
                yield True, description, _clean(after._replace(cluster=cluster))
            if state.budget.lost and request.name != "FindCoordinator":  # it is repeated
                budget = after.budget._replace(lost=after.budget.lost - 1)
                lost = after._replace(budget=budget, late=(*state.late, request))
                yield False, f"{description}: no answer", await self._after(lost, generation, (number, LOST))
            if state.budget.outdated and request.name == "FindCoordinator":
                old = after._replace(budget=after.budget._replace(outdated=after.budget.outdated - 1))
                former = (other_broker(state.cluster.coordinator),)
                yield False, f"{description} -> {former}", await self._after(old, generation, (number, former))
            if request.broker not in (-1, state.cluster.coordinator):
                outdated = outdated_answer(state.cluster, request)
                if outdated is not None:
                    reached = await self._after(after, generation, (number, outdated))
                    yield False, f"{description} -> outdated: {outdated}", reached

    def _unanswered(self, state: State) -> Iterator[tuple[int, int, Request]]:
        for generation, replica in enumerate(state.replicas, 1):
            if replica >= 0:
                for number, request in self._nodes[replica].unanswered:
                    yield generation, number, request

    async def _after(self, state: State, generation: int, event: Event) -> State:
        node = self._nodes[state.replicas[generation - 1]]
        node = await step(node, event, lambda: self._begin(generation))
        late = (*state.late, *node.abandoned)
        return _clean(state._replace(replicas=_put(state.replicas, generation, self._number(node)), late=late))

    def _crashed(self, state: State, generation: int) -> State:
        unanswered = (request for _, request in self._nodes[state.replicas[generation - 1]].unanswered)
        return _clean(
            state._replace(
                replicas=_put(state.replicas, generation, CRASHED),
                late=(*state.late, *unanswered),
                budget=state.budget._replace(crashes=state.budget.crashes - 1),
            )
        )

    async def _rebalanced(self, state: State) -> State:
        generation = state.cluster.generation + 1
        budget = state.budget
        if state.replicas[-1] != CRASHED:
            budget = budget._replace(rebalances=budget.rebalances - 1)
        return state._replace(
            cluster=state.cluster._replace(generation=generation),
            replicas=(*state.replicas, await self._root(generation)),
            budget=budget,
        )

    def _violation(self, state: State, *, at_rest: bool) -> str | None:
        values = state.cluster.committed_values()
        if len(values) != len(set(values)):
            return f"committed twice: {values}"
        if not at_rest:
            return None
        if state.replicas[-1] != FINISHED_REPLICA:
            return f"it goes on no more: {state.replicas}"
        orders = self._rules.orders
        if values != list(range(orders)) or state.cluster.committed != orders:
            return f"committed in the end: {values}, offset {state.cluster.committed}"
        return None

    def _steps(self, state: State) -> list[str]:
        steps: list[str] = []
        at: State | None = state
        while at is not None:
            at, description = self._origins[at]
            steps.append(description)
        return steps[-2::-1]


def _put(replicas: tuple[int, ...], generation: int, number: int) -> tuple[int, ...]:
    return (*replicas[: generation - 1], number, *replicas[generation:])


def _clean(state: State) -> State:
    """A canonical state: without ineffective late requests, and with the others sorted."""
    late = tuple(sorted(request for request in state.late if can_act(state.cluster, request)))
    return state if late == state.late else state._replace(late=late)


def _switched(state: State, generation: int, *, free: bool) -> State | None:
    """The state in which this replica runs; None if the switch would exceed the budget."""
    if generation == state.running:
        return state
    if free:
        return state._replace(running=generation)
    if not state.budget.switches:
        return None
    return state._replace(running=generation, budget=state.budget._replace(switches=state.budget.switches - 1))


def _describe(request: Request) -> str:
    return " ".join(str(each) for each in request if each not in (-1, "", False))
