"""Graphs, as matrices or lists of edges: paths, trees, components, flows, ranks."""

from __future__ import annotations

import heapq
from collections import deque

import numpy as np
from programs.program import Program


def random_graph(
    rng: np.random.Generator, n: int, degree: float, directed: bool = False
) -> np.ndarray:
    adjacency = rng.random((n, n)) < degree / n
    np.fill_diagonal(adjacency, False)
    return adjacency if directed else np.triu(adjacency) | np.triu(adjacency).T


def random_weights(rng: np.random.Generator, n: int, degree: float) -> np.ndarray:
    """Symmetric weights; infinity where there is no edge."""
    weights = np.where(random_graph(rng, n, degree), rng.uniform(1, 10, (n, n)), np.inf)
    return np.minimum(weights, weights.T)


def random_edges(rng: np.random.Generator, n: int, degree: float) -> np.ndarray:
    return np.argwhere(random_graph(rng, n, degree, directed=True))


def bfs_levels(adjacency: np.ndarray, source: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Breadth-first search: levels, parents, and the number of the vertices reached."""
    n = adjacency.shape[0]
    level = -np.ones(n, dtype=int)
    parent = -np.ones(n, dtype=int)
    level[source] = 0
    queue = [source]
    reached = 0
    while queue:
        u = queue.pop(0)
        reached += 1
        for v in range(n):
            if adjacency[u, v] and level[v] == -1:
                level[v] = level[u] + 1
                parent[v] = u
                queue.append(v)
    return level, parent, reached


def _bfs_data(rng: np.random.Generator, size: int) -> tuple:
    return random_graph(rng, size, rng.uniform(1.2, 4)), int(rng.integers(size))


def dijkstra_dense(weights: np.ndarray, source: int, target: int) -> tuple[list[int], float]:
    """Shortest path between two vertices by Dijkstra's algorithm on a matrix of weights."""
    n = len(weights)
    distance = np.full(n, np.inf)
    previous = np.full(n, -1)
    visited = np.zeros(n, dtype=bool)
    distance[source] = 0
    for _ in range(n):
        u = int(np.argmin(np.where(visited, np.inf, distance)))
        if visited[u] or distance[u] == np.inf:
            break
        visited[u] = True
        if u == target:
            break
        for v in range(n):
            through = distance[u] + weights[u, v]
            if through < distance[v]:
                distance[v] = through
                previous[v] = u
    if not visited[target]:
        return [], float("inf")
    path = [target]
    while path[-1] != source:
        path.append(int(previous[path[-1]]))
    return path[::-1], float(distance[target])


def _dijkstra_data(rng: np.random.Generator, size: int) -> tuple:
    weights = random_weights(rng, size, rng.uniform(2, 5))
    source, target = rng.choice(size, 2, replace=False)
    return weights, int(source), int(target)


def dijkstra_heap(
    indptr: np.ndarray, indices: np.ndarray, lengths: np.ndarray, source: int
) -> tuple[np.ndarray, int]:
    """Distances from a vertex of a graph in CSR form, with a heap; counts the stale entries."""
    n = len(indptr) - 1
    distance = np.full(n, np.inf)
    distance[source] = 0.0
    heap = [(0.0, source)]
    stale = 0
    while heap:
        d, u = heapq.heappop(heap)
        if d > distance[u]:
            stale += 1
            continue
        for k in range(indptr[u], indptr[u + 1]):
            if lengths[k] < 0:
                raise ValueError("negative length")
            v = indices[k]
            if d + lengths[k] < distance[v]:
                distance[v] = d + lengths[k]
                heapq.heappush(heap, (distance[v], int(v)))
    return distance, stale


def _heap_data(rng: np.random.Generator, size: int) -> tuple:
    edges = random_edges(rng, size, 5.0)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(edges[:, 0], minlength=size))))
    lengths = rng.uniform(1, 10, len(edges))
    if lengths[0] > 5:
        lengths[len(edges) // 2] = -1.0
    return indptr, edges[:, 1].copy(), lengths, int(rng.integers(size))


def floyd_warshall(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All shortest distances, and the matrix of next hops; raises on a negative cycle."""
    n = weights.shape[0]
    d = weights.copy()
    np.fill_diagonal(d, np.minimum(np.diag(d), 0))
    hops = np.where(np.isfinite(weights), np.arange(n), -1)
    for k in range(n):
        candidate = d[:, k, None] + d[None, k, :]
        better = candidate < d
        if not better.any():
            continue
        d[better] = candidate[better]
        hops = np.where(better, hops[:, k][:, None], hops)
        if np.any(np.diag(d) < 0):
            raise ValueError("the graph has a negative cycle")
    return d, hops


def _floyd_data(rng: np.random.Generator, size: int) -> tuple:
    weights = np.where(
        random_graph(rng, size, 4.0, directed=True), rng.uniform(1, 9, (size, size)), np.inf
    )
    if rng.random() < 0.4:
        weights[0, 1], weights[1, 0] = 2.0, -3.0
    return (weights,)


def pagerank(
    adjacency: np.ndarray, damping: float = 0.85, tolerance: float = 1e-8
) -> tuple[np.ndarray, np.ndarray, int]:
    """PageRank by iteration until it is converged, and the pages in order of rank."""
    n = adjacency.shape[0]
    out = adjacency.sum(axis=1)
    dangling = out == 0
    transition = adjacency / np.where(dangling, 1, out)[:, None]
    rank = np.full(n, 1 / n)
    iterations = 0
    delta = 1.0
    while delta > tolerance:
        leaked = rank[dangling].sum() if dangling.any() else 0.0
        new_rank = damping * (rank @ transition + leaked / n) + (1 - damping) / n
        delta = np.abs(new_rank - rank).sum()
        rank = new_rank
        iterations += 1
        if iterations > 200:
            raise RuntimeError("PageRank does not converge")
    return rank, np.argsort(-rank), iterations


def _pagerank_data(rng: np.random.Generator, size: int) -> tuple:
    return (random_graph(rng, size, rng.uniform(1.5, 6), directed=True),)


def label_components(adjacency: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Connected components by propagation of the lowest label, their sizes, and the rounds."""
    n = len(adjacency)
    linked = adjacency | adjacency.T | np.eye(n, dtype=bool)
    labels = np.arange(n)
    rounds = 0
    while True:
        new_labels = np.where(linked, labels, n).min(axis=1)
        rounds += 1
        if np.array_equal(new_labels, labels):
            break
        labels = new_labels
    names, sizes = np.unique(labels, return_counts=True)
    for new_name, name in enumerate(names):
        labels[labels == name] = new_name
    return labels, sizes, rounds


def _label_data(rng: np.random.Generator, size: int) -> tuple:
    return (random_graph(rng, size, rng.uniform(0.8, 2.5)),)


def topological_levels(n: int, edges: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Kahn's order of the tasks and the level of each; raises when they wait in a circle."""
    followers: list[list[int]] = [[] for _ in range(n)]
    waiting = [0] * n
    for before, after in edges:
        followers[before].append(after)
        waiting[after] += 1
    ready = [task for task in range(n) if waiting[task] == 0]
    level = np.zeros(n, dtype=int)
    order = []
    while ready:
        task = ready.pop()
        order.append(task)
        for follower in followers[task]:
            waiting[follower] -= 1
            level[follower] = max(level[follower], level[task] + 1)
            if waiting[follower] == 0:
                ready.append(int(follower))
    if len(order) < n:
        raise ValueError(f"{n - len(order)} tasks are in a circle or wait for one")
    return order, level


def _topological_data(rng: np.random.Generator, size: int) -> tuple:
    edges = np.argwhere(np.triu(rng.random((size, size)) < 5 / size, 1))
    if rng.random() < 0.3:
        edges = np.concatenate([edges, edges[-1:, ::-1]])
    return size, rng.permutation(size)[edges]


def prim_spanning_forest(weights: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Minimum spanning forest by Prim's algorithm: edges, weight, and number of trees."""
    n = weights.shape[0]
    in_tree = np.zeros(n, dtype=bool)
    cost = np.full(n, np.inf)
    link = np.full(n, -1)
    edges = []
    total = 0.0
    trees = 0
    while not in_tree.all():
        open_cost = np.where(in_tree, np.inf, cost)
        u = open_cost.argmin()
        if np.isinf(open_cost[u]):
            u = np.flatnonzero(~in_tree)[0]
            trees += 1
        else:
            edges.append((link[u], u))
            total += cost[u]
        in_tree[u] = True
        closer = ~in_tree & (weights[u] < cost)
        cost[closer] = weights[u, closer]
        link[closer] = u
    return np.array(edges).reshape(-1, 2), float(total), trees


def _prim_data(rng: np.random.Generator, size: int) -> tuple:
    return (random_weights(rng, size, rng.uniform(1.5, 5)),)


class DisjointSets:
    """Union by size with halving of the paths."""

    def __init__(self, n: int) -> None:
        self.parent = np.arange(n)
        self.size = np.ones(n, dtype=int)
        self.count = n

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def union(self, i: int, j: int) -> bool:
        i, j = self.find(i), self.find(j)
        if i == j:
            return False
        if self.size[i] < self.size[j]:
            i, j = j, i
        self.parent[j] = i
        self.size[i] += self.size[j]
        self.count -= 1
        return True


def kruskal_clusters(points: np.ndarray, clusters: int) -> tuple[np.ndarray, float, int]:
    """Single-linkage clusters by Kruskal's algorithm: labels, last length used, edges tried."""
    n = len(points)
    difference = points[:, None, :] - points[None, :, :]
    distance = np.sqrt((difference**2).sum(axis=-1))
    rows, cols = np.triu_indices(n, k=1)
    order = np.argsort(distance[rows, cols], kind="stable")
    sets = DisjointSets(n)
    tried = 0
    last = 0.0
    for e in order:
        if sets.count == clusters:
            break
        tried += 1
        if sets.union(rows[e], cols[e]):
            last = distance[rows[e], cols[e]]
    roots = np.array([sets.find(i) for i in range(n)])
    return np.unique(roots, return_inverse=True)[1], float(last), tried


def _kruskal_data(rng: np.random.Generator, size: int) -> tuple:
    centres = rng.uniform(-10, 10, (4, 2))
    points = centres[rng.integers(0, 4, size)] + rng.normal(size=(size, 2))
    return points, int(rng.integers(2, 6))


def bellman_ford(
    n: int, edges: np.ndarray, lengths: np.ndarray, source: int
) -> tuple[np.ndarray, bool, int]:
    """Distances by Bellman and Ford with an early stop, and whether a cycle is negative."""
    distance = [float("inf")] * n
    distance[source] = 0.0
    rounds = 0
    for _ in range(n - 1):
        changed = False
        rounds += 1
        for (u, v), w in zip(edges, lengths, strict=True):
            if distance[u] + w < distance[v]:
                distance[v] = distance[u] + w
                changed = True
        if not changed:
            break
    else:
        for (u, v), w in zip(edges, lengths, strict=True):
            if distance[u] + w < distance[v] - 1e-12:
                return np.array(distance), True, rounds
    return np.array(distance), False, rounds


def _bellman_data(rng: np.random.Generator, size: int) -> tuple:
    edges = random_edges(rng, size, 3.5)
    heights = rng.uniform(0, 5, size)
    lengths = rng.uniform(0.1, 5, len(edges)) + heights[edges[:, 0]] - heights[edges[:, 1]]
    if rng.random() < 0.35:
        lengths[:3] -= 10
    return size, edges, lengths, int(edges[0, 0])


def max_flow(
    capacity: np.ndarray, source: int, sink: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """Maximum flow by Edmonds and Karp: value, flows, and the source's side of the cut."""
    n = capacity.shape[0]
    residual = capacity.copy()
    value = 0

    def search() -> np.ndarray:
        parent = np.full(n, -1)
        parent[source] = source
        queue = deque([source])
        while queue:
            u = queue.popleft()
            for v in np.nonzero(residual[u] > 0)[0]:
                if parent[v] < 0:
                    parent[v] = u
                    if v == sink:
                        return parent
                    queue.append(v)
        return parent

    while True:
        parent = search()
        if parent[sink] < 0:
            break
        bottleneck = np.iinfo(np.int64).max
        v = sink
        while v != source:
            u = parent[v]
            bottleneck = min(bottleneck, residual[u, v])
            v = u
        v = sink
        while v != source:
            u = parent[v]
            residual[u, v] -= bottleneck
            residual[v, u] += bottleneck
            v = u
        value += bottleneck
    return int(value), np.maximum(capacity - residual, 0), parent >= 0


def _flow_data(rng: np.random.Generator, size: int) -> tuple:
    edges = random_graph(rng, size, rng.uniform(3, 7), directed=True)
    return np.where(edges, rng.integers(1, 20, (size, size)), 0), 0, size - 1


def two_colouring(adjacency: np.ndarray) -> tuple[bool, np.ndarray]:
    """Colours a graph with two colours, or gives the edge at which that fails."""
    n = len(adjacency)
    colour = np.zeros(n, dtype=np.int8)
    for start in range(n):
        if colour[start] != 0:
            continue
        colour[start] = 1
        stack = [start]
        while stack:
            u = stack.pop()
            for v in np.flatnonzero(adjacency[u]):
                if colour[v] == 0:
                    colour[v] = -colour[u]
                    stack.append(v)
                elif colour[v] == colour[u]:
                    return False, np.array([u, v])
    return True, colour


def _colouring_data(rng: np.random.Generator, size: int) -> tuple:
    adjacency = random_graph(rng, size, 4.0)
    side = rng.integers(0, 2, size).astype(bool)
    crossing = adjacency & (side[:, None] ^ side[None, :])
    if rng.random() < 0.4:
        crossing[-3:] |= adjacency[-3:]
        crossing[:, -3:] |= adjacency[:, -3:]
    return (crossing,)


def strong_components(adjacency: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Strongly connected components by Tarjan's recursion: labels, count, largest size."""
    n = adjacency.shape[0]
    neighbours = [np.flatnonzero(row).tolist() for row in adjacency]
    index = [-1] * n
    low = [0] * n
    on_stack = [False] * n
    stack: list[int] = []
    component = np.full(n, -1)
    counter = 0
    found = 0

    def visit(v: int) -> None:
        nonlocal counter, found
        index[v] = low[v] = counter
        counter += 1
        stack.append(v)
        on_stack[v] = True
        for w in neighbours[v]:
            if index[w] < 0:
                visit(w)
                low[v] = min(low[v], low[w])
            elif on_stack[w]:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            while True:
                w = stack.pop()
                on_stack[w] = False
                component[w] = found
                if w == v:
                    break
            found += 1

    for v in range(n):
        if index[v] < 0:
            visit(v)
    return component, found, int(np.bincount(component).max())


def _strong_data(rng: np.random.Generator, size: int) -> tuple:
    return (random_graph(rng, size, rng.uniform(1.0, 2.5), directed=True),)


def k_cores(adjacency: np.ndarray) -> tuple[np.ndarray, int]:
    """Core number of each vertex by peeling of the vertices of low degree."""
    remaining = np.ones(len(adjacency), dtype=bool)
    core = np.zeros(len(adjacency), dtype=int)
    k = 0
    peelings = 0
    while remaining.any():
        degree = adjacency[:, remaining].sum(axis=1)
        peel = remaining & (degree <= k)
        if peel.any():
            core[peel] = k
            remaining &= ~peel
            peelings += 1
        else:
            k += 1
    return core, peelings


def greedy_colouring(adjacency: np.ndarray) -> tuple[np.ndarray, int]:
    """Colours the vertices in order of degree, each with the first colour that is free."""
    n = adjacency.shape[0]
    colours = np.full(n, -1)
    for v in np.argsort(-adjacency.sum(axis=0), kind="stable"):
        used = set(colours[adjacency[v]])
        colour = 0
        while colour in used:
            colour += 1
        colours[v] = colour
    assert not np.any(adjacency & (colours[:, None] == colours[None, :]))
    return colours, int(colours.max()) + 1


def clustering_coefficients(adjacency: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of each vertex's pairs of neighbours that are linked, and the mean of the shares."""
    n = len(adjacency)
    local = np.zeros(n)
    for v in range(n):
        friends = [u for u in range(n) if adjacency[v, u]]
        k = len(friends)
        if k < 2:
            continue
        links = 0
        for i in range(k):
            for j in range(i):
                if adjacency[friends[i], friends[j]]:
                    links += 1
        local[v] = 2 * links / (k * (k - 1))
    mean = local[local > 0].mean() if (local > 0).any() else 0.0
    return local, float(mean)


def _dense_data(rng: np.random.Generator, size: int) -> tuple:
    return (random_graph(rng, size, rng.uniform(3, 12)),)


PROGRAMS = [
    Program(bfs_levels, _bfs_data, sizes=(160, 75)),
    Program(dijkstra_dense, _dijkstra_data, sizes=(140, 75)),
    Program(dijkstra_heap, _heap_data, sizes=(400, 150), raises=True),
    Program(floyd_warshall, _floyd_data, sizes=(50, 31), raises=True),
    Program(pagerank, _pagerank_data, sizes=(400, 170)),
    Program(label_components, _label_data, sizes=(300, 140)),
    Program(topological_levels, _topological_data, sizes=(300, 120), raises=True),
    Program(prim_spanning_forest, _prim_data, sizes=(160, 71)),
    Program(kruskal_clusters, _kruskal_data, sizes=(120, 65)),
    Program(bellman_ford, _bellman_data, sizes=(80, 45)),
    Program(max_flow, _flow_data, sizes=(30, 19)),
    Program(two_colouring, _colouring_data, sizes=(500, 220)),
    Program(strong_components, _strong_data, sizes=(500, 190)),
    Program(k_cores, _dense_data, sizes=(500, 220)),
    Program(greedy_colouring, _dense_data, sizes=(600, 280)),
    Program(clustering_coefficients, _dense_data, sizes=(120, 71)),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
