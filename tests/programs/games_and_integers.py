"""Whole numbers and games: divisors, primes, codes, sorting, boards, dice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from programs.program import Program

# Whole numbers.


def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return abs(a)


def reduce_fractions(
    numerators: np.ndarray, denominators: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Reduces fractions to lowest terms with positive denominators; counts the whole ones."""
    tops = np.zeros_like(numerators)
    bottoms = np.zeros_like(denominators)
    whole = 0
    for i, (p, q) in enumerate(zip(numerators, denominators, strict=True)):
        if q == 0:
            raise ZeroDivisionError(f"fraction {i} has denominator 0")
        g = gcd(p, q)
        if q < 0:
            g = -g
        tops[i], bottoms[i] = p // g, q // g
        if bottoms[i] == 1:
            whole += 1
    return tops, bottoms, whole


def _fractions_data(rng: np.random.Generator, size: int) -> tuple:
    bottoms = rng.integers(-500, 501, size)
    if bottoms[0] < 0:
        bottoms[size // 3] = 0
    else:
        bottoms[bottoms == 0] = 1
    return rng.integers(-500, 501, size), bottoms


def collatz_lengths(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps of Collatz' sequence to 1, the highest point on the way, and the longest start."""
    steps = np.zeros(len(numbers), dtype=int)
    peaks = np.zeros(len(numbers), dtype=np.int64)
    for i, start in enumerate(numbers):
        n = int(start)
        peak = n
        while n != 1:
            if n % 2 == 0:
                n //= 2
            else:
                n = 3 * n + 1
                peak = max(peak, n)
            steps[i] += 1
        peaks[i] = peak
    return steps, peaks, int(numbers[steps.argmax()])


def sieve_and_twins(limit: int) -> tuple[np.ndarray, list[tuple[int, int]], int]:
    """Primes below a limit by Eratosthenes' sieve, pairs of twins, and the widest gap."""
    is_prime = np.ones(limit, dtype=bool)
    is_prime[:2] = False
    p = 2
    while p * p < limit:
        if is_prime[p]:
            is_prime[p * p :: p] = False
        p += 1
    primes = np.flatnonzero(is_prime)
    twins = []
    widest = 0
    for a, b in zip(primes[:-1], primes[1:], strict=True):
        if b - a == 2:
            twins.append((int(a), int(b)))
        elif b - a > widest:
            widest = int(b - a)
    return primes, twins, widest


def prime_factor_counts(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Prime factors by trial division: how many, how many different, and how often each."""
    count = np.zeros(numbers.size, dtype=int)
    different = np.zeros(numbers.size, dtype=int)
    tally: dict[int, int] = {}
    for i in range(numbers.size):
        n = int(numbers[i])
        divisor = 2
        while divisor * divisor <= n:
            found = False
            while n % divisor == 0:
                n //= divisor
                count[i] += 1
                tally[divisor] = tally.get(divisor, 0) + 1
                found = True
            if found:
                different[i] += 1
            divisor += 1 if divisor == 2 else 2
        if n > 1:
            count[i] += 1
            different[i] += 1
            tally[n] = tally.get(n, 0) + 1
    return count, different, dict(sorted(tally.items())[:10])


def modular_power(base: int, exponent: int, modulus: int) -> int:
    result = 1
    base %= modulus
    while exponent > 0:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result


def probable_primes(numbers: np.ndarray, witnesses: np.ndarray) -> tuple[np.ndarray, int]:
    """Miller and Rabin's test with given witnesses, and how many powers it took."""
    verdicts = np.zeros(len(numbers), dtype=bool)
    powers = 0
    for i, number in enumerate(numbers):
        n = int(number)
        if n < 2 or (n > 2 and n % 2 == 0):
            continue
        d, r = n - 1, 0
        while d % 2 == 0:
            d //= 2
            r += 1
        for a in witnesses:
            if a % n == 0:
                continue
            x = modular_power(int(a), d, n)
            powers += 1
            if x in (1, n - 1):
                continue
            for _ in range(r - 1):
                x = x * x % n
                if x == n - 1:
                    break
            else:
                break
        else:
            verdicts[i] = True
    return verdicts, powers


def digit_puzzles(numbers: np.ndarray) -> dict[str, np.ndarray | int]:
    """Digit sums, digital roots, happy numbers and palindromes among whole numbers."""
    sums = np.empty_like(numbers)
    roots = np.empty_like(numbers)
    happy = np.zeros(len(numbers), dtype=bool)
    palindromes = 0
    for i, number in enumerate(numbers):
        total, n, mirrored = 0, number, 0
        while n > 0:
            n, digit = divmod(n, 10)
            total += digit
            mirrored = 10 * mirrored + digit
        sums[i] = total
        if mirrored == number:
            palindromes += 1
        while total > 9:
            total = sum(int(d) for d in str(total))
        roots[i] = total
        n = int(number)
        while n not in (1, 4) and n > 0:
            squares = 0
            while n > 0:
                squares += (n % 10) ** 2
                n //= 10
            n = squares
        happy[i] = n == 1
    return {"sums": sums, "roots": roots, "happy": happy, "palindromes": palindromes}


def bit_counts(words: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Ones in each word, parity, and the longest run of ones, by shifts and masks."""
    ones = np.zeros(len(words), dtype=np.uint8)
    longest = 0
    for i, word in enumerate(words):
        w = int(word)
        while w:
            w &= w - 1
            ones[i] += 1
        w = int(word)
        run = 0
        while w:
            w &= w << 1
            run += 1
        longest = max(longest, run)
    return ones, ones % 2 == 1, longest


def crc32(data: np.ndarray, expected: int) -> tuple[int, bool, int]:
    """CRC-32 by shifts of single bits, compared to a given one; also a checksum of Adler."""
    crc = 0xFFFFFFFF
    a, b = 1, 0
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            if crc & 1:
                crc = (crc >> 1) ^ 0xEDB88320
            else:
                crc >>= 1
        a = (a + int(byte)) % 65521
        b = (b + a) % 65521
    crc ^= 0xFFFFFFFF
    return crc, crc == expected, (b << 16) | a


def _crc_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.integers(0, 256, size, dtype=np.uint8), int(rng.integers(0, 2**32))


def lcg_period(
    multiplier: int, increment: int, modulus: int, seed: int
) -> dict[str, int | float]:
    """Period of a linear congruential generator by Brent's search, and the mean of a period."""
    if modulus <= 0:
        raise ValueError("modulus must be positive")

    def step(x: int) -> int:
        return (multiplier * x + increment) % modulus

    power = period = 1
    tortoise, hare = seed, step(seed)
    while tortoise != hare:
        if power == period:
            tortoise = hare
            power *= 2
            period = 0
        hare = step(hare)
        period += 1
    tortoise = hare = seed
    for _ in range(period):
        hare = step(hare)
    tail = 0
    while tortoise != hare:
        tortoise, hare = step(tortoise), step(hare)
        tail += 1
    values = np.zeros(period)
    for i in range(period):
        values[i] = hare / modulus
        hare = step(hare)
    return {"period": period, "tail": tail, "mean": float(values.mean())}


def _lcg_data(rng: np.random.Generator, size: int) -> tuple:
    modulus = int(rng.integers(size // 2, size))
    multiplier, increment, seed = (int(v) for v in rng.integers(1, modulus, 3))
    return multiplier, increment, modulus, seed


# Searching and sorting.


def binary_searches(table: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of numbers in a sorted table by binary search, or -1, and the probes needed."""
    for a, b in zip(table, table[1:], strict=False):
        if a > b:
            raise ValueError("the table is not sorted")
    places = np.full(wanted.shape, -1)
    probes = np.zeros(wanted.shape, dtype=int)
    for i, value in enumerate(wanted):
        low, high = 0, len(table) - 1
        while low <= high:
            middle = (low + high) // 2
            probes[i] += 1
            if table[middle] == value:
                places[i] = middle
                break
            if table[middle] < value:
                low = middle + 1
            else:
                high = middle - 1
    return places, probes


def _search_data(rng: np.random.Generator, size: int) -> tuple:
    table = np.sort(rng.choice(4 * size, size, replace=False))
    if table[-1] % 3 == 0:
        table[size // 2] = 0
    return table, rng.integers(0, 4 * size, size)


def bubble_sort(values: np.ndarray) -> tuple[int, int]:
    """Sorts in place by bubble sort with an early end: swaps and passes."""
    n = len(values)
    swaps = 0
    passes = 0
    while n > 1:
        last = 0
        for i in range(1, n):
            if values[i - 1] > values[i]:
                values[i - 1], values[i] = values[i], values[i - 1]
                swaps += 1
                last = i
        passes += 1
        n = last
    return swaps, passes


def insertion_sort_by_key(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Stable insertion sort of values by keys; returns copies and the moves made."""
    keys, values = keys.copy(), values.copy()
    moves = 0
    for i in range(1, len(keys)):
        key, value = keys[i], values[i]
        j = i - 1
        while j >= 0 and keys[j] > key:
            keys[j + 1] = keys[j]
            values[j + 1] = values[j]
            j -= 1
            moves += 1
        keys[j + 1] = key
        values[j + 1] = value
    return values, moves


def _nearly_sorted(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.arange(size) + rng.integers(0, rng.integers(2, size), size)


def quick_select(values: np.ndarray, rank: int) -> tuple[float, int]:
    """The element of a given rank by quickselect in place, and the comparisons made."""
    comparisons = 0

    def partition(low: int, high: int) -> int:
        nonlocal comparisons
        middle = (low + high) // 2
        values[[middle, high]] = values[[high, middle]]
        pivot = values[high]
        store = low
        for i in range(low, high):
            comparisons += 1
            if values[i] < pivot:
                values[i], values[store] = values[store], values[i]
                store += 1
        values[high], values[store] = values[store], values[high]
        return store

    def select(low: int, high: int) -> float:
        if low == high:
            return values[low]
        p = partition(low, high)
        if rank == p:
            return values[p]
        return select(low, p - 1) if rank < p else select(p + 1, high)

    if not 0 <= rank < len(values):
        raise IndexError("rank out of range")
    return float(select(0, len(values) - 1)), comparisons


# Boards.


def tic_tac_toe_winners(boards: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Who has won on each board (1, -1, 0 for open, 2 for a draw), and the totals."""
    results = np.zeros(len(boards), dtype=int)
    totals = {"cross": 0, "nought": 0, "draw": 0, "open": 0}
    for k, board in enumerate(boards):
        lines = [board[i, :] for i in range(3)] + [board[:, j] for j in range(3)]
        lines += [np.diag(board), np.diag(np.fliplr(board))]
        for line in lines:
            if line[0] != 0 and line[0] == line[1] == line[2]:
                results[k] = line[0]
                totals["cross" if line[0] == 1 else "nought"] += 1
                break
        else:
            if np.all(board != 0):
                results[k] = 2
                totals["draw"] += 1
            else:
                totals["open"] += 1
    return results, totals


def sudoku_conflicts(grids: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Whether sudoku grids (0 for empty) break a rule, and the first place where they do."""
    valid = np.ones(len(grids), dtype=bool)
    notes = []

    def repeats(cells: np.ndarray) -> bool:
        seen = set()
        for cell in cells:
            if cell == 0:
                continue
            if cell in seen:
                return True
            seen.add(cell)
        return False

    for g, grid in enumerate(grids):
        if grid.min() < 0 or grid.max() > 9:
            raise ValueError("a cell is out of range")
        note = "fine"
        for i in range(9):
            r, c = 3 * (i // 3), 3 * (i % 3)
            if repeats(grid[i]):
                note = f"row {i}"
            elif repeats(grid[:, i]):
                note = f"column {i}"
            elif repeats(grid[r : r + 3, c : c + 3].ravel()):
                note = f"box {i}"
            else:
                continue
            valid[g] = False
            break
        notes.append(note)
    return valid, notes


def _sudoku_solution(rng: np.random.Generator) -> np.ndarray:
    r, c = np.mgrid[:9, :9]
    return (rng.permutation(9) + 1)[(3 * (r % 3) + r // 3 + c) % 9]


def _conflict_data(rng: np.random.Generator, size: int) -> tuple:
    grids = np.array([_sudoku_solution(rng) for _ in range(size)])
    grids[rng.random(grids.shape) < 0.4] = 0
    for k in range(0, size, 2):
        grids[k, rng.integers(9), rng.integers(9)] = rng.integers(0, 10)
    if grids[-1, 0, 0] > 2:
        grids[-1, 0, 0] = 12
    return (grids,)


def solve_sudoku(grid: np.ndarray) -> int:
    """Solves a sudoku in place by backtracking, and counts the numbers tried; -1 if it fails."""
    tried = 0

    def options(r: int, c: int) -> list[int]:
        box = grid[r - r % 3 : r - r % 3 + 3, c - c % 3 : c - c % 3 + 3]
        used = set(grid[r]) | set(grid[:, c]) | set(box.ravel())
        return [v for v in range(1, 10) if v not in used]

    def search() -> bool:
        nonlocal tried
        best = None
        for r, c in np.argwhere(grid == 0):
            candidates = options(r, c)
            if best is None or len(candidates) < len(best[2]):
                best = (r, c, candidates)
                if len(candidates) <= 1:
                    break
        if best is None:
            return True
        r, c, candidates = best
        for value in candidates:
            tried += 1
            grid[r, c] = value
            if search():
                return True
        grid[r, c] = 0
        return False

    return tried if search() else -1


def _sudoku_data(rng: np.random.Generator, size: int) -> tuple:
    grid = _sudoku_solution(rng)
    grid.flat[rng.choice(81, size, replace=False)] = 0
    return (grid,)


def life_until_stable(board: np.ndarray, limit: int) -> tuple[np.ndarray, int, str]:
    """Conway's game of life on a torus until it dies, rests, blinks, or the limit comes."""

    def evolve(b: np.ndarray) -> np.ndarray:
        neighbours = np.zeros(b.shape, dtype=int)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                if dr or dc:
                    neighbours += np.roll(np.roll(b, dr, axis=0), dc, axis=1)
        return ((neighbours == 3) | ((b == 1) & (neighbours == 2))).astype(b.dtype)

    before = None
    for generation in range(limit):
        if board.sum() == 0:
            return board, generation, "dead"
        after = evolve(board)
        if np.array_equal(after, board):
            return board, generation, "still"
        if before is not None and np.array_equal(after, before):
            return board, generation, "blinking"
        before, board = board, after
    return board, limit, "busy"


def _life_data(rng: np.random.Generator, size: int) -> tuple:
    return (rng.random((size, size)) < rng.uniform(0.05, 0.4)).astype(np.int8), 60


def merge_left(row: np.ndarray) -> tuple[np.ndarray, int]:
    tiles = [int(t) for t in row if t != 0]
    merged = []
    score = 0
    i = 0
    while i < len(tiles):
        if i + 1 < len(tiles) and tiles[i] == tiles[i + 1]:
            merged.append(2 * tiles[i])
            score += 2 * tiles[i]
            i += 2
        else:
            merged.append(tiles[i])
            i += 1
    return np.array(merged + [0] * (len(row) - len(merged))), score


def play_2048(
    board: np.ndarray, moves: np.ndarray, spawns: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """Plays 2048 with given moves and places of new tiles, until no move is left."""
    board = board.copy()
    score = 0
    played = 0
    for move, spawn in zip(moves, spawns, strict=True):
        turned = np.rot90(board, move)
        new = np.zeros_like(turned)
        for r in range(4):
            new[r], gained = merge_left(turned[r])
            score += gained
        new = np.rot90(new, -move)
        if (new == board).all():
            stuck = not (board == 0).any()
            stuck = stuck and not (board[1:] == board[:-1]).any()
            if stuck and not (board[:, 1:] == board[:, :-1]).any():
                break
            continue
        played += 1
        board = new
        empty = np.argwhere(board == 0)
        r, c = empty[spawn % len(empty)]
        board[r, c] = 4 if spawn % 10 == 0 else 2
    return board, score, played


def _2048_data(rng: np.random.Generator, size: int) -> tuple:
    board = np.zeros((4, 4), dtype=int)
    board[rng.integers(4), rng.integers(4)] = 2
    return board, rng.integers(0, 4, size), rng.integers(0, 1000, size)


def count_queens(n: int, blocked: np.ndarray) -> tuple[int, np.ndarray | None, int]:
    """Ways to place n queens off the blocked squares, the first of them, and the trials."""
    columns = np.zeros(n, dtype=bool)
    rising = np.zeros(2 * n, dtype=bool)
    falling = np.zeros(2 * n, dtype=bool)
    place = np.zeros(n, dtype=int)
    first = None
    solutions = trials = 0

    def put(row: int) -> None:
        nonlocal solutions, trials, first
        if row == n:
            solutions += 1
            if first is None:
                first = place.copy()
            return
        for col in range(n):
            trials += 1
            if blocked[row, col] or columns[col] or rising[row + col] or falling[row - col + n]:
                continue
            place[row] = col
            columns[col] = rising[row + col] = falling[row - col + n] = True
            put(row + 1)
            columns[col] = rising[row + col] = falling[row - col + n] = False

    put(0)
    return solutions, first, trials


def sweep_mines(mines: np.ndarray, clicks: np.ndarray) -> tuple[np.ndarray, str, int]:
    """Minesweeper with given clicks: board shown (-1 covered), outcome, clicks used."""
    rows, cols = mines.shape
    shown = np.full((rows, cols), -1)
    used = 0
    for r, c in clicks:
        if shown[r, c] >= 0:
            continue
        used += 1
        if mines[r, c]:
            shown[r, c] = 9
            return shown, "lost", used
        stack = [(r, c)]
        while stack:
            i, j = stack.pop()
            if shown[i, j] != -1:
                continue
            around = mines[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            shown[i, j] = around.sum()
            if shown[i, j] > 0:
                continue
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if 0 <= i + di < rows and 0 <= j + dj < cols:
                        stack.append((i + di, j + dj))
        if np.sum(shown >= 0) == np.sum(~mines):
            return shown, "won", used
    return shown, "open", used


def _mines_data(rng: np.random.Generator, size: int) -> tuple:
    mines = rng.random((size, size)) < rng.uniform(0.01, 0.15)
    clicks = rng.integers(0, size, (20, 2))
    mines[tuple(clicks[:3].T)] = False
    return mines, clicks


# Dice and turns.


def score_dice(rolls: np.ndarray) -> tuple[int, np.ndarray, list[str]]:
    """Scores throws of five dice by a poker-like table: total, points, names of the hands."""
    points = np.zeros(len(rolls), dtype=int)
    names = []
    for i, roll in enumerate(rolls):
        counts = np.bincount(roll, minlength=7)
        most = counts.max()
        if most == 5:
            name, score = "five", 50
        elif most == 4:
            name, score = "four", int(roll.sum()) + 10
        elif most == 3:
            name, score = ("house", 25) if 2 in counts else ("three", int(sum(roll)))
        elif all(counts[2:6]) and (counts[1] or counts[6]):
            name, score = "straight", 40
        elif np.sum(counts == 2) == 2:
            name, score = "two pairs", 2 * int(np.flatnonzero(counts == 2).sum())
        else:
            name, score = "chance", int(max(roll))
        points[i] = score
        names.append(name)
    bonus = 35 if points.mean() >= 12 else 0
    return int(points.sum()) + bonus, points, names


@dataclass
class Lift:
    floor: int = 0
    direction: int = 1
    riders: int = 0
    travelled: int = 0


def run_elevator(
    calls: np.ndarray, origins: np.ndarray, goals: np.ndarray, floors: int, capacity: int
) -> dict[str, int | float]:
    """A lift that goes on in its direction as long as somebody wants it: waits and distance."""
    n = len(calls)
    state = np.zeros(n, dtype=int)  # 0 not yet there, 1 in the lift, 2 arrived
    waits = np.zeros(n)
    lift = Lift()
    time = 0
    while (state != 2).any() and time < 5000:
        for p in range(n):
            if state[p] == 1 and goals[p] == lift.floor:
                state[p] = 2
                lift.riders -= 1
        for p in range(n):
            if state[p] == 0 and calls[p] <= time and origins[p] == lift.floor:
                if lift.riders >= capacity:
                    break
                state[p] = 1
                waits[p] = time - calls[p]
                lift.riders += 1
        targets = [int(goals[p]) for p in range(n) if state[p] == 1]
        targets += [int(origins[p]) for p in range(n) if state[p] == 0 and calls[p] <= time]
        if targets:
            ahead = [t for t in targets if (t - lift.floor) * lift.direction > 0]
            if not ahead and any(t != lift.floor for t in targets):
                lift.direction = -lift.direction
            if any(t != lift.floor for t in targets):
                lift.floor += lift.direction
                lift.travelled += 1
            assert 0 <= lift.floor < floors
        time += 1
    return {
        "time": time,
        "travelled": lift.travelled,
        "mean_wait": float(waits.mean()),
        "longest_wait": float(waits.max()),
        "arrived": int(np.sum(state == 2)),
    }


def _elevator_data(rng: np.random.Generator, size: int) -> tuple:
    floors = 8
    origins = rng.integers(0, floors, size)
    goals = (origins + rng.integers(1, floors, size)) % floors
    return np.sort(rng.integers(0, 4 * size, size)), origins, goals, floors, 4


def snakes_and_ladders(
    jumps: np.ndarray, rolls: np.ndarray, players: int
) -> tuple[int, np.ndarray, int]:
    """Games of snakes and ladders one after the other with given dice: wins, lengths, jumps."""
    last = len(jumps) - 1
    wins = np.zeros(players, dtype=int)
    lengths = []
    positions = [0] * players
    turns = 0
    jumped = 0
    player = 0
    for roll in rolls:
        turns += 1
        target = positions[player] + int(roll)
        if target > last:
            target = last - (target - last)
        if jumps[target] != 0:
            target += int(jumps[target])
            jumped += 1
        positions[player] = target
        if target == last:
            wins[player] += 1
            lengths.append(turns)
            positions = [0] * players
            turns = 0
            player = 0
        elif roll != 6:
            player = (player + 1) % players
    return jumped, wins, max(lengths, default=-1)


def _snakes_data(rng: np.random.Generator, size: int) -> tuple:
    jumps = np.zeros(64, dtype=int)
    squares = rng.choice(np.arange(12, 60), 10, replace=False)
    for square in squares:
        jumps[square] = rng.integers(-11, 3)
    return jumps, rng.integers(1, 7, size), int(rng.integers(2, 5))


def bowling_scores(games: np.ndarray) -> np.ndarray:
    """Ten-pin bowling: the totals of games that are given as knocked pins, ball by ball."""
    totals = []
    for game in games:
        total = 0
        ball = 0
        for _frame in range(10):
            first, second = game[ball], game[ball + 1]
            if first == 10:
                total += 10 + second + game[ball + 2]
                ball += 1
            elif first + second == 10:
                total += 10 + game[ball + 2]
                ball += 2
            elif first + second > 10:
                raise ValueError("more than ten pins in a frame")
            else:
                total += first + second
                ball += 2
        totals.append(total)
    return np.array(totals)


def _bowling_data(rng: np.random.Generator, size: int) -> tuple:
    games = np.zeros((size, 24), dtype=int)
    for game in games:
        ball = 0
        while ball < 22:
            first = min(10, int(rng.integers(0, 14)))
            game[ball] = first
            if first < 10:
                game[ball + 1] = rng.integers(0, 11 - first)
            ball += 1 if first == 10 else 2
    if games[0, 0] < 7:
        games[-1, :2] = 7
    return (games,)


PROGRAMS = [
    Program(reduce_fractions, _fractions_data, sizes=(2000, 850), raises=True),
    Program(collatz_lengths, lambda rng, size: (rng.integers(1, 5000, size),), sizes=(150, 70)),
    Program(
        sieve_and_twins,
        lambda rng, size: (int(rng.integers(size // 2, size)),),
        sizes=(60000, 20000),
    ),
    Program(
        prime_factor_counts, lambda rng, size: (rng.integers(2, 20000, size),), sizes=(500, 210)
    ),
    Program(
        probable_primes,
        lambda rng, size: (rng.integers(1, 10**6, size), np.array([2, 3, 5, 7])),
        sizes=(700, 310),
    ),
    Program(digit_puzzles, lambda rng, size: (rng.integers(1, 3000, size),), sizes=(300, 130)),
    Program(
        bit_counts,
        lambda rng, size: (rng.integers(0, 2**32, size, dtype=np.uint32),),
        sizes=(400, 170),
    ),
    Program(crc32, _crc_data, sizes=(1500, 700)),
    Program(lcg_period, _lcg_data, sizes=(60000, 25000)),
    Program(binary_searches, _search_data, sizes=(1200, 500), raises=True),
    Program(
        bubble_sort,
        lambda rng, size: (_nearly_sorted(rng, size),),
        mutates=True,
        sizes=(180, 90),
    ),
    Program(
        insertion_sort_by_key,
        lambda rng, size: (_nearly_sorted(rng, size), rng.normal(size=size)),
        sizes=(200, 90),
    ),
    Program(
        quick_select,
        lambda rng, size: (rng.integers(0, size, size), int(rng.integers(0, 1.15 * size))),
        mutates=True,
        sizes=(3000, 1100),
        raises=True,
    ),
    Program(
        tic_tac_toe_winners,
        lambda rng, size: (rng.choice([-1, 0, 1], (size, 3, 3), p=[0.42, 0.12, 0.46]),),
        sizes=(300, 130),
    ),
    Program(sudoku_conflicts, _conflict_data, sizes=(40, 17), raises=True),
    Program(solve_sudoku, _sudoku_data, mutates=True, sizes=(52, 45)),
    Program(life_until_stable, _life_data, sizes=(12, 9)),
    Program(play_2048, _2048_data, sizes=(250, 80)),
    Program(
        count_queens,
        lambda rng, size: (size, rng.random((size, size)) < rng.uniform(0.02, 0.3)),
        sizes=(8, 7),
    ),
    Program(sweep_mines, _mines_data, sizes=(36, 21)),
    Program(score_dice, lambda rng, size: (rng.integers(1, 7, (size, 5)),), sizes=(200, 90)),
    Program(run_elevator, _elevator_data, sizes=(24, 15)),
    Program(snakes_and_ladders, _snakes_data, sizes=(6000, 2500)),
    Program(bowling_scores, _bowling_data, sizes=(500, 190), raises=True),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
