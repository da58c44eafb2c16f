"""Dynamic programming: strings, knapsacks, alignments, games of chance, schedules."""

from __future__ import annotations

import bisect
from functools import cache

import numpy as np
from programs.program import Program


def mutated(rng: np.random.Generator, sequence: np.ndarray, share: float) -> np.ndarray:
    """A copy with some letters changed and some left out."""
    copy = np.where(
        rng.random(sequence.size) < share, rng.integers(0, 4, sequence.size), sequence
    )
    return copy[rng.random(copy.size) > share / 2]


def related_sequences(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    a = rng.integers(0, 4, size)
    return a, mutated(rng, a, rng.uniform(0.1, 0.6))


# Sequences.


def edit_distance(a: np.ndarray, b: np.ndarray, limit: int) -> tuple[int, int]:
    """Levenshtein distance of two sequences, given up when it must exceed a limit."""
    if len(a) < len(b):
        a, b = b, a
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        current = [i]
        for j, y in enumerate(b, start=1):
            substitution = previous[j - 1] + (0 if x == y else 1)
            current.append(min(previous[j] + 1, current[j - 1] + 1, substitution))
        if min(current) > limit:
            return limit + 1, i
        previous = current
    return previous[-1], len(a)


def _edit_data(rng: np.random.Generator, size: int) -> tuple:
    return *related_sequences(rng, size), int(rng.choice([size // 6, size]))


def longest_common_subsequence(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """A longest common subsequence of two integer sequences, and its length."""
    m, n = len(a), len(b)
    table = np.zeros((m + 1, n + 1), dtype=int)
    for i in range(m):
        for j in range(n):
            if a[i] == b[j]:
                table[i + 1, j + 1] = table[i, j] + 1
            else:
                table[i + 1, j + 1] = max(table[i, j + 1], table[i + 1, j])
    common = []
    i, j = m, n
    while i > 0 and j > 0:
        if a[i - 1] == b[j - 1]:
            common.append(a[i - 1])
            i -= 1
            j -= 1
        elif table[i - 1, j] >= table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return np.array(common[::-1]), int(table[m, n])


def needleman_wunsch(
    a: np.ndarray, b: np.ndarray, match: int, mismatch: int, gap: int
) -> tuple[int, np.ndarray, float]:
    """Global alignment: score, aligned pairs with -1 for a gap, and share of equal letters."""
    m, n = a.size, b.size
    score = np.zeros((m + 1, n + 1), dtype=np.int32)
    score[:, 0] = gap * np.arange(m + 1)
    score[0, :] = gap * np.arange(n + 1)
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            s = match if a[i - 1] == b[j - 1] else mismatch
            best = score[i - 1, j - 1] + s
            if score[i - 1, j] + gap > best:
                best = score[i - 1, j] + gap
            if score[i, j - 1] + gap > best:
                best = score[i, j - 1] + gap
            score[i, j] = best
    pairs = []
    same = 0
    i, j = m, n
    while i or j:
        diagonal = i > 0 and j > 0
        s = match if diagonal and a[i - 1] == b[j - 1] else mismatch
        if diagonal and score[i, j] == score[i - 1, j - 1] + s:
            i, j = i - 1, j - 1
            pairs.append((a[i], b[j]))
            same += a[i] == b[j]
        elif i > 0 and score[i, j] == score[i - 1, j] + gap:
            i -= 1
            pairs.append((a[i], -1))
        else:
            j -= 1
            pairs.append((-1, b[j]))
    pairs.reverse()
    return int(score[m, n]), np.array(pairs), same / len(pairs)


def smith_waterman(
    a: np.ndarray, b: np.ndarray
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Best local alignment: its score, and where it starts and ends in both sequences."""
    h = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            diagonal = h[i - 1, j - 1] + (3 if a[i - 1] == b[j - 1] else -3)
            h[i, j] = max(0, diagonal, h[i - 1, j] - 2, h[i, j - 1] - 2)
    i, j = np.unravel_index(np.argmax(h), h.shape)
    best = int(h[i, j])
    end = int(i), int(j)
    while h[i, j] > 0:
        if h[i, j] == h[i - 1, j] - 2:
            i -= 1
        elif h[i, j] == h[i, j - 1] - 2:
            j -= 1
        else:
            i -= 1
            j -= 1
    return best, (int(i), int(j)), end


def time_warping(
    x: np.ndarray, y: np.ndarray, window: int
) -> tuple[float, list[tuple[int, int]]]:
    """Dynamic time warping within a band: distance and path."""
    n, m = len(x), len(y)
    window = max(window, abs(n - m))
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, n + 1):
        for j in range(max(1, i - window), min(m, i + window) + 1):
            d = abs(x[i - 1] - y[j - 1])
            cost[i, j] = d + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
    path = [(n - 1, m - 1)]
    i, j = n, m
    while (i, j) != (1, 1):
        moves = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(moves, key=lambda move: cost[move])
        path.append((i - 1, j - 1))
    return float(cost[n, m]), path[::-1]


def _warping_data(rng: np.random.Generator, size: int) -> tuple:
    x = np.cumsum(rng.normal(size=size))
    y = np.repeat(x, rng.choice([0, 1, 2], size, p=[0.15, 0.7, 0.15]))
    return x, y + 0.1 * rng.normal(size=y.size), int(rng.integers(3, 12))


def increasing_subsequence(values: np.ndarray) -> np.ndarray:
    """A longest strictly increasing subsequence, with piles and binary search."""
    tails: list[float] = []
    ends: list[int] = []
    previous = np.full(values.size, -1)
    for i, value in enumerate(values):
        pile = bisect.bisect_left(tails, value)
        if pile > 0:
            previous[i] = ends[pile - 1]
        if pile == len(tails):
            tails.append(value)
            ends.append(i)
        else:
            tails[pile] = value
            ends[pile] = i
    chosen = []
    k = ends[-1] if ends else -1
    while k != -1:
        chosen.append(values[k])
        k = previous[k]
    return np.array(chosen[::-1])


def _increasing_data(rng: np.random.Generator, size: int) -> tuple:
    return (rng.normal(size=size) + rng.uniform(0, 3) * np.arange(size) / size,)


def longest_palindrome(letters: np.ndarray) -> tuple[int, int, int]:
    """Longest palindrome in a sequence by growth about its centres: start, length, how many."""
    n = len(letters)
    best_start, best_length, ties = 0, 0, 0
    for centre in range(2 * n - 1):
        left = centre // 2
        right = left + centre % 2
        while left >= 0 and right < n and letters[left] == letters[right]:
            left -= 1
            right += 1
        length = right - left - 1
        if length > best_length:
            best_start, best_length, ties = left + 1, length, 1
        elif length == best_length:
            ties += 1
    return best_start, best_length, ties


def _palindrome_data(rng: np.random.Generator, size: int) -> tuple:
    half = rng.integers(0, 3, int(rng.integers(2, size // 4)))
    letters = rng.integers(0, 3, size)
    letters[3 : 3 + 2 * half.size] = np.concatenate([half, half[::-1]])
    return (letters,)


def maximum_subarray(values: np.ndarray) -> tuple[float, int, int]:
    """The run of numbers with the largest sum, by Kadane: sum, start and end."""
    best = -np.inf
    start = stop = 0
    running = 0.0
    begin = 0
    for i, value in enumerate(values):
        if running <= 0:
            running = value
            begin = i
        else:
            running += value
        if running > best:
            best, start, stop = running, begin, i + 1
    return float(best), start, stop


def _kadane_data(rng: np.random.Generator, size: int) -> tuple:
    return (rng.normal(size=size) + rng.uniform(-0.5, 0.2),)


# Choices.


def knapsack(
    weights: np.ndarray, values: np.ndarray, capacity: int
) -> tuple[int, list[int], int]:
    """0/1 knapsack with the row updated by slices: best value, items chosen, weight used."""
    if np.any(weights <= 0):
        raise ValueError("weights must be positive")
    best = np.zeros(capacity + 1, dtype=np.int64)
    keep = np.zeros((len(weights), capacity + 1), dtype=bool)
    for k, (w, v) in enumerate(zip(weights, values, strict=True)):
        if w > capacity:
            continue
        candidate = best[: capacity + 1 - w] + v
        keep[k, w:] = candidate > best[w:]
        best[w:] = np.maximum(best[w:], candidate)
    chosen = []
    room = capacity
    for k in range(len(weights) - 1, -1, -1):
        if keep[k, room]:
            chosen.append(k)
            room -= int(weights[k])
    return int(best[capacity]), sorted(chosen), capacity - room


def _knapsack_data(rng: np.random.Generator, size: int) -> tuple:
    weights = rng.integers(1, 40, size)
    if rng.random() < 0.3:
        weights[size // 2] = 0
    return weights, rng.integers(1, 100, size), int(10 * size)


def coin_change(coins: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Fewest coins for each amount, -1 where there is no way, and the coins themselves."""
    top = int(max(amounts))
    fewest = [0] + [top + 1] * top
    last = [0] * (top + 1)
    for amount in range(1, top + 1):
        for coin in coins:
            if coin <= amount and fewest[amount - coin] + 1 < fewest[amount]:
                fewest[amount] = fewest[amount - coin] + 1
                last[amount] = int(coin)
    counts = np.full(len(amounts), -1)
    ways = []
    for k, amount in enumerate(amounts):
        way: list[int] = []
        if fewest[amount] <= top:
            counts[k] = fewest[amount]
            left = int(amount)
            while left > 0:
                way.append(last[left])
                left -= last[left]
        ways.append(way)
    return counts, ways


def _coin_data(rng: np.random.Generator, size: int) -> tuple:
    coins = rng.choice(np.arange(3, 40), int(rng.integers(2, 6)), replace=False)
    return coins, rng.integers(1, size, 8)


def matrix_chain(dimensions: np.ndarray) -> tuple[int, str]:
    """Cheapest order in which to multiply a chain of matrices: cost and brackets."""
    n = len(dimensions) - 1
    cost = np.zeros((n, n), dtype=np.int64)
    split = np.zeros((n, n), dtype=int)
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            cost[i, j] = np.iinfo(np.int64).max
            for k in range(i, j):
                outer = dimensions[i] * dimensions[k + 1] * dimensions[j + 1]
                c = cost[i, k] + cost[k + 1, j] + outer
                if c < cost[i, j]:
                    cost[i, j] = c
                    split[i, j] = k

    def brackets(i: int, j: int) -> str:
        if i == j:
            return f"A{i}"
        k = split[i, j]
        return f"({brackets(i, k)}{brackets(k + 1, j)})"

    return int(cost[0, n - 1]), brackets(0, n - 1)


def rod_cutting(prices: np.ndarray, length: int, saw_cost: int) -> tuple[int, list[int]]:
    """Best sale of a rod that may be cut, by recursion with a memory: revenue and pieces."""

    @cache
    def best(n: int) -> tuple[int, int]:
        if n == 0:
            return 0, 0
        value, piece = -1, 0
        for first in range(1, min(n, len(prices)) + 1):
            rest, _ = best(n - first)
            total = int(prices[first - 1]) + rest - (saw_cost if first < n else 0)
            if total > value:
                value, piece = total, first
        return value, piece

    revenue, piece = best(length)
    pieces = []
    while length > 0:
        _, piece = best(length)
        pieces.append(piece)
        length -= piece
    return revenue, pieces


def _rod_data(rng: np.random.Generator, size: int) -> tuple:
    prices = np.cumsum(rng.integers(0, 12, size // 2)) + 1
    return prices, size, int(rng.integers(0, 6))


def schedule_jobs(
    starts: np.ndarray, ends: np.ndarray, gains: np.ndarray
) -> tuple[float, list[int]]:
    """Weighted jobs that must not overlap: best gain, and the jobs that are done."""
    if np.any(ends <= starts):
        raise ValueError("a job ends before it starts")
    order = np.argsort(ends)
    starts, ends, gains = starts[order], ends[order], gains[order]
    n = len(order)
    before = np.searchsorted(ends, starts, side="right")
    best = np.zeros(n + 1)
    for k in range(n):
        best[k + 1] = max(best[k], best[before[k]] + gains[k])
    done = []
    k = n
    while k > 0:
        if best[before[k - 1]] + gains[k - 1] > best[k - 1]:
            done.append(int(order[k - 1]))
            k = before[k - 1]
        else:
            k -= 1
    return float(best[n]), done[::-1]


def _jobs_data(rng: np.random.Generator, size: int) -> tuple:
    starts = rng.uniform(0, size / 4, size)
    lengths = rng.exponential(1.5, size)
    if starts[0] > 0.6 * size / 4:
        lengths[0] = -1.0
    return starts, starts + lengths, rng.uniform(1, 5, size)


def stock_trades(prices: np.ndarray, most_trades: int, fee: float) -> tuple[float, int]:
    """Best profit with a limited number of trades and a fee, and the trades it takes."""
    days = len(prices)
    if most_trades >= days // 2:
        profit = 0.0
        trades = 0
        cash, holding = 0.0, -prices[0]
        for price in prices[1:]:
            if holding + price - fee > cash:
                cash = holding + price - fee
                trades += 1
            holding = max(holding, cash - price)
        profit = cash
        return float(profit), trades
    previous = np.zeros(days)
    used = 0
    for _ in range(most_trades):
        current = np.zeros(days)
        holding = -prices[0]
        for day in range(1, days):
            current[day] = max(current[day - 1], prices[day] + holding - fee)
            holding = max(holding, previous[day] - prices[day])
        if current[-1] <= previous[-1]:
            break
        used += 1
        previous = current
    return float(previous[-1]), used


def _stock_data(rng: np.random.Generator, size: int) -> tuple:
    prices = 50 + np.cumsum(rng.normal(size=size))
    return prices, int(rng.choice([3, 8, size])), float(rng.uniform(0.1, 6))


# Models of chance.


def viterbi(
    observations: np.ndarray, start: np.ndarray, transition: np.ndarray, emission: np.ndarray
) -> tuple[np.ndarray, float, int]:
    """Most likely states of a hidden Markov model, its log likelihood, and changes of state."""
    with np.errstate(divide="ignore"):
        log_start, log_t, log_e = np.log(start), np.log(transition), np.log(emission)
    steps, states = len(observations), len(start)
    score = np.empty((steps, states))
    back = np.zeros((steps, states), dtype=int)
    score[0] = log_start + log_e[:, observations[0]]
    for t in range(1, steps):
        for s in range(states):
            candidates = score[t - 1] + log_t[:, s]
            back[t, s] = np.argmax(candidates)
            score[t, s] = candidates[back[t, s]] + log_e[s, observations[t]]
        if np.all(np.isneginf(score[t])):
            raise ValueError(f"observation {t} is impossible")
    path = np.zeros(steps, dtype=int)
    path[-1] = score[-1].argmax()
    changes = 0
    for t in range(steps - 2, -1, -1):
        path[t] = back[t + 1, path[t + 1]]
        if path[t] != path[t + 1]:
            changes += 1
    return path, float(score[-1].max()), changes


def _viterbi_data(rng: np.random.Generator, size: int) -> tuple:
    transition = rng.dirichlet(np.ones(3), 3) + 2 * np.eye(3)
    transition /= transition.sum(axis=1, keepdims=True)
    emission = rng.dirichlet(np.ones(4), 3)
    observations = rng.integers(0, 4, size)
    if observations[0] == 0:
        emission[:, 3] = 0.0
    return observations, np.ones(3) / 3, transition, emission


def value_iteration(
    rewards: np.ndarray, walls: np.ndarray, discount: float, slip: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Values and best moves in a world of squares, by value iteration until nothing changes."""
    rows, cols = rewards.shape
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    value = np.zeros((rows, cols))
    policy = np.full((rows, cols), -1)

    def after(r: int, c: int, move: int) -> float:
        dr, dc = moves[move % 4]
        i, j = r + dr, c + dc
        if i < 0 or i >= rows or j < 0 or j >= cols or walls[i, j]:
            i, j = r, c
        return value[i, j]

    sweeps = 0
    while True:
        delta = 0.0
        for r in range(rows):
            for c in range(cols):
                if walls[r, c]:
                    continue
                best = -np.inf
                for move in range(4):
                    expected = (1 - slip) * after(r, c, move)
                    expected += slip / 2 * (after(r, c, move + 1) + after(r, c, move - 1))
                    if expected > best:
                        best = expected
                        policy[r, c] = move
                new = rewards[r, c] + discount * best
                delta = max(delta, abs(new - value[r, c]))
                value[r, c] = new
        sweeps += 1
        if delta < 1e-3:
            break
    return value, policy, sweeps


def _world_data(rng: np.random.Generator, size: int) -> tuple:
    rewards = np.where(rng.random((size, size)) < 0.15, rng.normal(size=(size, size)), -0.04)
    return rewards, rng.random((size, size)) < 0.2, float(rng.uniform(0.6, 0.9)), 0.2


# Grids.


def carve_seams(image: np.ndarray, how_many: int) -> tuple[np.ndarray, np.ndarray]:
    """Takes the seams of the lowest energy out of an image, one after the other."""
    costs = []
    for _ in range(how_many):
        h, w = image.shape
        dx = np.abs(np.diff(image, axis=1, append=image[:, -1:]))
        dy = np.abs(np.diff(image, axis=0, append=image[-1:, :]))
        total = dx + dy
        for i in range(1, h):
            for j in range(w):
                low, high = max(j - 1, 0), min(j + 2, w)
                total[i, j] += total[i - 1, low:high].min()
        seam = np.zeros(h, dtype=int)
        seam[-1] = np.argmin(total[-1])
        costs.append(total[-1, seam[-1]])
        for i in range(h - 2, -1, -1):
            low = max(seam[i + 1] - 1, 0)
            seam[i] = low + np.argmin(total[i, low : seam[i + 1] + 2])
        mask = np.ones((h, w), dtype=bool)
        mask[np.arange(h), seam] = False
        image = image[mask].reshape(h, w - 1)
    return image, np.array(costs)


def _seam_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.random((size, size + 4), dtype=np.float32), int(rng.integers(2, 5))


def largest_square(grid: np.ndarray) -> tuple[int, tuple[int, int], int]:
    """Largest square of ones in a grid: side, lower right corner, and number of all squares."""
    rows, cols = grid.shape
    side = np.zeros((rows, cols), dtype=int)
    best = 0
    corner = (-1, -1)
    for r in range(rows):
        for c in range(cols):
            if not grid[r, c]:
                continue
            if r == 0 or c == 0:
                side[r, c] = 1
            else:
                side[r, c] = 1 + min(side[r - 1, c], side[r, c - 1], side[r - 1, c - 1])
            if side[r, c] > best:
                best = int(side[r, c])
                corner = (r, c)
    return best, corner, int(side.sum())


PROGRAMS = [
    Program(edit_distance, _edit_data, sizes=(70, 41)),
    Program(longest_common_subsequence, related_sequences, sizes=(60, 35)),
    Program(
        needleman_wunsch,
        lambda rng, size: (*related_sequences(rng, size), 2, -1, -2),
        sizes=(50, 31),
    ),
    Program(smith_waterman, related_sequences, sizes=(40, 25)),
    Program(time_warping, _warping_data, sizes=(100, 45)),
    Program(increasing_subsequence, _increasing_data, sizes=(4500, 1700)),
    Program(longest_palindrome, _palindrome_data, sizes=(1500, 610)),
    Program(maximum_subarray, _kadane_data, sizes=(12000, 5000)),
    Program(knapsack, _knapsack_data, sizes=(250, 110), raises=True),
    Program(coin_change, _coin_data, sizes=(900, 350)),
    Program(matrix_chain, lambda rng, size: (rng.integers(2, 60, size),), sizes=(24, 15)),
    Program(rod_cutting, _rod_data, sizes=(120, 75)),
    Program(schedule_jobs, _jobs_data, sizes=(1200, 500), raises=True),
    Program(stock_trades, _stock_data, sizes=(500, 210)),
    Program(viterbi, _viterbi_data, sizes=(150, 70), raises=True),
    Program(value_iteration, _world_data, sizes=(8, 6)),
    Program(carve_seams, _seam_data, sizes=(24, 15)),
    Program(
        largest_square,
        lambda rng, size: (rng.random((size, size)) < rng.uniform(0.6, 0.95),),
        sizes=(60, 35),
    ),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
