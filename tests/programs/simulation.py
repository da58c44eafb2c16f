"""Simulations: diffusion, waves, automata, bodies, epidemics, queues, fluids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from programs.program import Program

# Fields on a grid.


def heat_until_steady(u: np.ndarray, alpha: float, dx: float, tolerance: float) -> int:
    """Explicit heat equation in a rod, in place, until the temperatures change no more."""
    dt = 0.4 * dx**2 / alpha
    step = 0
    while True:
        change = alpha * dt / dx**2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u[1:-1] += change
        step += 1
        if np.abs(change).max() < tolerance or step == 5000:
            return step


def _heat_data(rng: np.random.Generator, size: int) -> tuple:
    u = rng.uniform(0, 100, size)
    u[0], u[-1] = 0.0, rng.uniform(0, 100)
    return u, 1.2, 1.0 / size, 0.02


def wave_on_a_string(
    u: np.ndarray, speed: float, dt: float, steps: int, absorbing: bool
) -> tuple[np.ndarray, int]:
    """Plucked string by leapfrog, with fixed or absorbing ends; counts the middle's swings."""
    dx = 1.0 / (len(u) - 1)
    r = speed * dt / dx
    if not 0 < r <= 1:
        raise ValueError(f"unstable: Courant number {r:.3f}")
    previous = u.copy()
    current = u.copy()
    current[1:-1] = u[1:-1] + 0.5 * r**2 * (u[2:] - 2 * u[1:-1] + u[:-2])
    middle = len(u) // 2
    swings = 0
    for _ in range(steps):
        following = np.zeros_like(u)
        following[1:-1] = (
            2 * current[1:-1]
            - previous[1:-1]
            + r**2 * (current[2:] - 2 * current[1:-1] + current[:-2])
        )
        if absorbing:
            c = (r - 1) / (r + 1)
            following[0] = current[1] + c * (following[1] - current[0])
            following[-1] = current[-2] + c * (following[-2] - current[-1])
        if following[middle] * current[middle] < 0:
            swings += 1
        if np.abs(following).max() < 1e-3:
            break
        previous, current = current, following
    return current, swings


def _wave_data(rng: np.random.Generator, size: int) -> tuple:
    x = np.linspace(0, 1, size)
    u = np.exp(-((x - rng.uniform(0.2, 0.8)) ** 2) / 0.005)
    u[0] = u[-1] = 0.0
    return u, 1.0, float(rng.uniform(0.5, 1.2)) / (size - 1), 300, bool(rng.random() < 0.5)


def gray_scott(
    u: np.ndarray, v: np.ndarray, feed: float, kill: float, steps: int
) -> dict[str, np.ndarray | int | str]:
    """Gray and Scott's reaction and diffusion on a torus, stopped when the pattern dies."""

    def laplacian(z: np.ndarray) -> np.ndarray:
        total = -4.0 * z
        for axis in (0, 1):
            for shift in (-1, 1):
                total += np.roll(z, shift, axis=axis)
        return total

    fate = "alive"
    used = steps
    for step in range(steps):
        reaction = u * v**2
        u = u + 0.16 * laplacian(u) - reaction + feed * (1 - u)
        v = v + 0.08 * laplacian(v) + reaction - (feed + kill) * v
        if v.max() < 0.05:
            fate, used = "extinct", step + 1
            break
    return {"u": u, "v": v, "steps": used, "fate": fate}


def _gray_scott_data(rng: np.random.Generator, size: int) -> tuple:
    u = np.ones((size, size))
    v = np.zeros((size, size))
    block = slice(size // 3, size // 2)
    u[block, block], v[block, block] = 0.5, 0.25
    v += 0.02 * rng.random((size, size))
    u, v = u.astype(np.float32), v.astype(np.float32)
    return u, v, float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.055, 0.1)), 150


VELOCITIES = np.array(
    [[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 1], [-1, 1], [-1, -1], [1, -1]]
)
WEIGHTS = np.array([4 / 9] + 4 * [1 / 9] + 4 * [1 / 36])
OPPOSITE = [0, 3, 4, 1, 2, 7, 8, 5, 6]


def lattice_boltzmann(
    obstacle: np.ndarray, inflow: float, tau: float, steps: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Flow past obstacles by the D2Q9 lattice Boltzmann method, until it is steady."""
    nx, ny = obstacle.shape

    def equilibrium(rho: np.ndarray, ux: np.ndarray, uy: np.ndarray) -> np.ndarray:
        feq = np.empty((9, nx, ny))
        square = 1.5 * (ux**2 + uy**2)
        for i, (cx, cy) in enumerate(VELOCITIES):
            cu = 3 * (cx * ux + cy * uy)
            feq[i] = WEIGHTS[i] * rho * (1 + cu + 0.5 * cu**2 - square)
        return feq

    f = equilibrium(np.ones((nx, ny)), np.full((nx, ny), inflow), np.zeros((nx, ny)))
    old_speed = np.zeros((nx, ny))
    for step in range(1, steps + 1):
        for i, (cx, cy) in enumerate(VELOCITIES):
            f[i] = np.roll(f[i], (cx, cy), axis=(0, 1))
        bounced = f[:, obstacle]
        rho = f.sum(axis=0)
        ux = np.tensordot(VELOCITIES[:, 0], f, axes=1) / rho
        uy = np.tensordot(VELOCITIES[:, 1], f, axes=1) / rho
        ux[0, :], uy[0, :] = inflow, 0.0
        f += (equilibrium(rho, ux, uy) - f) / tau
        for i in range(9):
            f[i, obstacle] = bounced[OPPOSITE[i]]
        speed = np.sqrt(ux**2 + uy**2)
        speed[obstacle] = 0.0
        if step % 10 == 0:
            if np.abs(speed - old_speed).max() < 0.004:
                break
            old_speed = speed
    return speed, rho, step


def _boltzmann_data(rng: np.random.Generator, size: int) -> tuple:
    x, y = np.mgrid[: 2 * size, :size]
    cx, cy, r = size // 2, rng.integers(size // 3, 2 * size // 3), rng.integers(2, 5)
    obstacle = (x - cx) ** 2 + (y - cy) ** 2 < r**2
    return obstacle, float(rng.uniform(0.03, 0.1)), float(rng.uniform(0.7, 1.2)), 120


# Automata.


def forest_fire(
    forest: np.ndarray, chances: np.ndarray, start: tuple[int, int]
) -> tuple[int, int]:
    """A fire spreads through a forest (0 empty, 1 tree, 2 fire, 3 ash) until it goes out."""
    rows, cols = forest.shape
    if forest[start] != 1:
        return 0, 0
    forest[start] = 2
    time = 0
    burnt = 1
    while (forest == 2).any():
        time += 1
        burning = np.argwhere(forest == 2)
        for r, c in burning:
            for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                i, j = r + dr, c + dc
                if not (0 <= i < rows and 0 <= j < cols):
                    continue
                if forest[i, j] == 1 and chances[i, j] < 0.85:
                    forest[i, j] = 2
                    burnt += 1
            forest[r, c] = 3
    return time, burnt


def _fire_data(rng: np.random.Generator, size: int) -> tuple:
    forest = (rng.random((size, size)) < 0.75).astype(np.int8)
    forest[size // 2, size // 2] = 1
    return forest, rng.random((size, size)), (size // 2, size // 2)


def elementary_automaton(
    cells: np.ndarray, rule: int, max_steps: int
) -> tuple[np.ndarray, int | None]:
    """Wolfram's automaton on a ring: its history, and the length of the cycle if it has one."""
    table = [(rule >> k) & 1 for k in range(8)]
    seen: dict[tuple[int, ...], int] = {}
    history = []
    row = [int(c) for c in cells]
    n = len(row)
    for step in range(max_steps):
        key = tuple(row)
        if key in seen:
            return np.array(history), step - seen[key]
        seen[key] = step
        history.append(row)
        row = [table[4 * row[i - 1] + 2 * row[i] + row[(i + 1) % n]] for i in range(n)]
    return np.array(history), None


def _automaton_data(rng: np.random.Generator, size: int) -> tuple:
    rule = int(rng.choice([30, 90, 110, 184, 54, 45, 22, 4]))
    return rng.integers(0, 2, size), rule, 200


def topple_sandpile(grid: np.ndarray, limit: int = 4) -> tuple[int, int]:
    """Lets a pile of sand topple in place until it is stable: topplings and grains lost."""
    topplings = 0
    grains = grid.sum()
    while True:
        unstable = grid >= limit
        if not unstable.any():
            break
        share = grid // limit
        share[~unstable] = 0
        topplings += int(share.sum())
        grid -= limit * share
        grid[1:, :] += share[:-1, :]
        grid[:-1, :] += share[1:, :]
        grid[:, 1:] += share[:, :-1]
        grid[:, :-1] += share[:, 1:]
    return topplings, int(grains - grid.sum())


def _sandpile_data(rng: np.random.Generator, size: int) -> tuple:
    grid = rng.integers(0, 4, (size, size))
    grid[size // 2, size // 2] += rng.integers(50, 300)
    return (grid,)


def traffic_jam(
    positions: np.ndarray, length: int, top_speed: int, dawdles: np.ndarray
) -> dict[str, np.ndarray | float | int]:
    """Nagel and Schreckenberg's cars on a ring road, for a given table of dawdling."""
    n = len(positions)
    pos = np.sort(positions)
    speed = np.zeros(n, dtype=int)
    passed = 0
    standing = []
    for dawdle in dawdles:
        new_pos = pos.copy()
        for k in range(n):
            gap = (pos[(k + 1) % n] - pos[k] - 1) % length
            v = min(speed[k] + 1, top_speed, gap)
            if v > 0 and dawdle[k]:
                v -= 1
            speed[k] = v
            new_pos[k] = pos[k] + v
            if new_pos[k] >= length:
                new_pos[k] -= length
                passed += 1
        pos = new_pos
        standing.append(np.count_nonzero(speed == 0))
    return {
        "positions": pos,
        "flow": passed / len(dawdles),
        "worst": max(standing),
        "mean_speed": float(speed.mean()),
    }


def _traffic_data(rng: np.random.Generator, size: int) -> tuple:
    length = int(size * rng.uniform(2, 8))
    positions = rng.choice(length, size, replace=False)
    return positions, length, 5, rng.random((60, size)) < 0.25


# Bodies.


def leapfrog_nbody(
    x: np.ndarray, v: np.ndarray, mass: np.ndarray, dt: float, steps: int
) -> tuple[float, float, int]:
    """Gravitating bodies by leapfrog in place: drift of energy, closest pair, close meetings."""
    n = len(mass)

    def accelerations() -> tuple[np.ndarray, float]:
        a = np.zeros_like(x)
        closest = np.inf
        for i in range(n):
            for j in range(i + 1, n):
                d = x[j] - x[i]
                distance = np.sqrt(d @ d)
                closest = min(closest, distance)
                pull = d / (distance**2 + 0.01) ** 1.5
                a[i] += mass[j] * pull
                a[j] -= mass[i] * pull
        return a, closest

    def energy() -> float:
        total = 0.5 * np.sum(mass * np.sum(v**2, axis=1))
        for i in range(n):
            for j in range(i):
                total -= mass[i] * mass[j] / np.sqrt(np.sum((x[i] - x[j]) ** 2) + 0.01)
        return total

    before = energy()
    a, closest = accelerations()
    meetings = 0
    for _ in range(steps):
        v += 0.5 * dt * a
        x += dt * v
        a, distance = accelerations()
        v += 0.5 * dt * a
        if distance < 0.2:
            meetings += 1
        if distance < closest:
            closest = distance
    return abs((energy() - before) / before), float(closest), meetings


def _nbody_data(rng: np.random.Generator, size: int) -> tuple:
    x, v = rng.normal(size=(2, size, 2))
    return x, 0.3 * v, rng.random(size), 0.01, int(rng.integers(40, 80))


def damped_pendulum(
    angle: float, velocity: float, damping: float, drive: float, dt: float, t_end: float
) -> dict[str, float | int | list[float]]:
    """Driven and damped pendulum: times of its passages through the bottom, and its turns."""
    t = 0.0
    crossings: list[float] = []
    turns = 0
    while t < t_end:
        acceleration = -np.sin(angle) - damping * velocity + drive * np.cos(0.66 * t)
        velocity += acceleration * dt
        new_angle = angle + velocity * dt
        if angle * new_angle < 0 and abs(new_angle) < 1:
            crossings.append(t + dt * angle / (angle - new_angle))
        angle = new_angle
        if angle > np.pi:
            angle -= 2 * np.pi
            turns += 1
        elif angle < -np.pi:
            angle += 2 * np.pi
            turns -= 1
        t += dt
        if drive == 0 and abs(angle) < 1e-3 and abs(velocity) < 1e-3:
            break
    return {"angle": float(angle), "time": t, "turns": turns, "crossings": crossings}


def _pendulum_data(rng: np.random.Generator, size: int) -> tuple:
    drive = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.5, 1.5))
    return float(rng.uniform(-2, 2)), float(rng.normal()), 0.5, drive, 0.02, float(size)


def bouncing_balls(
    heights: np.ndarray, restitution: np.ndarray, t_end: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Balls that fall and bounce, from one impact to the next: bounces, heights, rest times."""
    g = 9.81
    bounces = np.zeros(len(heights), dtype=int)
    final = np.zeros(len(heights))
    rest_times = np.full(len(heights), np.nan)
    for k, (height, e) in enumerate(zip(heights, restitution, strict=True)):
        assert 0 <= e < 1
        t = np.sqrt(2 * height / g)
        speed = g * t
        if t > t_end:
            final[k] = height - g * t_end**2 / 2
            continue
        while True:
            speed *= e
            bounces[k] += 1
            flight = 2 * speed / g
            if speed < 1e-2:
                rest_times[k] = t
                break
            if t + flight > t_end:
                left = t_end - t
                final[k] = speed * left - g * left**2 / 2
                break
            t += flight
    return bounces, final, rest_times


def _ball_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.uniform(0.5, 120, size), rng.uniform(0.3, 0.95, size), 4.5


# Chance, with the random numbers given.


def ising_sweeps(
    spins: np.ndarray, sites: np.ndarray, uniforms: np.ndarray, temperature: float
) -> tuple[np.ndarray, float, int]:
    """Metropolis moves of the Ising model: magnetisation over time, energy, accepted moves."""
    n = spins.shape[0]
    spins = spins.copy()
    magnetisation = []
    accepted = 0
    for k, ((i, j), u) in enumerate(zip(sites, uniforms, strict=True)):
        neighbours = (
            spins[(i + 1) % n, j] + spins[i - 1, j] + spins[i, (j + 1) % n] + spins[i, j - 1]
        )
        cost = 2 * spins[i, j] * neighbours
        if cost <= 0 or u < np.exp(-cost / temperature):
            spins[i, j] = -spins[i, j]
            accepted += 1
        if k % 100 == 0:
            magnetisation.append(spins.mean())
            if abs(magnetisation[-1]) == 1.0:
                break
    energy = -np.sum(spins * (np.roll(spins, 1, axis=0) + np.roll(spins, 1, axis=1)))
    return np.array(magnetisation), float(energy) / n**2, accepted


def _ising_data(rng: np.random.Generator, size: int) -> tuple:
    moves = 8 * size**2
    spins = rng.choice([-1, 1], size=(size, size), p=[0.2, 0.8])
    sites = rng.integers(0, size, (moves, 2))
    return spins, sites, rng.random(moves), float(rng.uniform(0.8, 4))


def random_walk_exit(
    noise: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """When and where walkers of given steps leave a disc, and the quadrants they leave by."""
    walkers, steps, _ = noise.shape
    exit_time = np.full(walkers, -1)
    exit_point = np.zeros((walkers, 2))
    quadrants: dict[int, int] = {}
    for w in range(walkers):
        x = y = 0.0
        for s in range(steps):
            x += noise[w, s, 0]
            y += noise[w, s, 1]
            if x * x + y * y > radius**2:
                exit_time[w] = s + 1
                exit_point[w] = x, y
                quadrant = (0 if x > 0 else 1) if y > 0 else (2 if x < 0 else 3)
                quadrants[quadrant] = quadrants.get(quadrant, 0) + 1
                break
    return exit_time, exit_point, quadrants


def queue_of_customers(
    gaps: np.ndarray, services: np.ndarray, patience: np.ndarray, servers: int
) -> dict[str, float | int]:
    """Customers at a few counters, who leave again if they would wait for too long."""
    free_at = np.zeros(servers)
    now = 0.0
    waits = []
    lost = 0
    longest_queue = 0
    starts: list[float] = []
    for gap, service, limit in zip(gaps, services, patience, strict=True):
        now += gap
        counter = np.argmin(free_at)
        wait = max(0.0, free_at[counter] - now)
        if wait > limit:
            lost += 1
            continue
        free_at[counter] = now + wait + service
        waits.append(wait)
        starts.append(now + wait)
        waiting = sum(1 for s in starts[-20:] if s > now)
        longest_queue = max(longest_queue, waiting)
    return {
        "served": len(waits),
        "lost": lost,
        "mean_wait": float(np.mean(waits)) if waits else 0.0,
        "longest_queue": longest_queue,
        "closing_time": float(free_at.max()),
    }


def _queue_data(rng: np.random.Generator, size: int) -> tuple:
    load = rng.uniform(0.6, 1.6)
    gaps, services = rng.exponential(1.0, size), rng.exponential(2 * load, size)
    return gaps, services, rng.exponential(4.0, size), 2


def langevin_double_well(
    x0: float, kicks: np.ndarray, dt: float, temperature: float
) -> tuple[np.ndarray, int, list[int]]:
    """Overdamped particle in a double well, under given kicks: path, hops, lengths of stay."""
    x = x0
    path = np.empty(len(kicks))
    well = 1 if x > 0 else -1
    hops = 0
    stays = []
    since = 0
    for i, kick in enumerate(kicks):
        x += -4 * x * (x**2 - 1) * dt + np.sqrt(2 * temperature * dt) * kick
        if abs(x) > 3:
            raise OverflowError("the particle has left the wells")
        path[i] = x
        if x * well < -0.5:
            well = -well
            hops += 1
            stays.append(i - since)
            since = i
    return path, hops, stays


def _langevin_data(rng: np.random.Generator, size: int) -> tuple:
    hot = 25.0 if rng.random() < 0.55 else rng.uniform(0.3, 0.8)
    return float(rng.choice([-1.0, 1.0])), rng.normal(size=size), 0.01, float(hot)


# Epidemics and control.


@dataclass
class Epidemic:
    susceptible: float
    infected: float
    recovered: float = 0.0

    @property
    def population(self) -> float:
        return self.susceptible + self.infected + self.recovered

    def step(self, beta: float, gamma: float, dt: float) -> None:
        new_cases = beta * self.susceptible * self.infected / self.population * dt
        new_cases = min(new_cases, self.susceptible)
        recoveries = gamma * self.infected * dt
        self.susceptible -= new_cases
        self.infected += new_cases - recoveries
        self.recovered += recoveries


def sir_with_lockdown(
    population: float, infected: float, beta: float, gamma: float, threshold: float, days: int
) -> dict[str, float | int | np.ndarray]:
    """An SIR epidemic in which lockdowns begin and end by the number of the infected."""
    state = Epidemic(population - infected, infected)
    locked = False
    lockdowns = 0
    days_locked = 0
    curve = [state.infected]
    for day in range(days):
        if not locked and state.infected > threshold:
            locked = True
            lockdowns += 1
            print(f"lockdown {lockdowns} from day {day}")
        elif locked and state.infected < threshold / 4:
            locked = False
        for _ in range(10):
            state.step(beta / 3 if locked else beta, gamma, 0.1)
        days_locked += locked
        curve.append(state.infected)
        if state.infected < 1:
            break
    infections = np.array(curve)
    return {
        "curve": infections,
        "peak_day": int(infections.argmax()),
        "lockdowns": lockdowns,
        "days_locked": days_locked,
        "immune": state.recovered / state.population,
    }


def _sir_data(rng: np.random.Generator, size: int) -> tuple:
    threshold = float(rng.choice([300.0, 1000.0, 1e5]))
    return 1e5, 10.0, float(rng.uniform(0.15, 0.6)), 0.1, threshold, size


def thermostat(
    outside: np.ndarray, target: float, band: float
) -> tuple[np.ndarray, int, float]:
    """A heater with hysteresis in given weather: temperatures inside, switches, energy."""
    inside = np.zeros(outside.size)
    temperature = target
    heating = False
    switches = 0
    energy = 0.0
    for i, out in enumerate(outside):
        if temperature < target - band and not heating:
            heating = True
            switches += 1
        elif temperature > target + band and heating:
            heating = False
            switches += 1
        power = (2.0 if out < 0 else 1.2) if heating else 0.0
        temperature += 0.03 * (out - temperature) + power
        energy += power
        inside[i] = temperature
    return inside, switches, energy


def _thermostat_data(rng: np.random.Generator, size: int) -> tuple:
    hours = np.arange(size)
    cold = rng.uniform(-8, 12)
    weather = cold + 6 * np.sin(hours * 2 * np.pi / 96) + rng.normal(size=size)
    return weather, 20.0, float(rng.uniform(0.3, 1.5))


PROGRAMS = [
    Program(heat_until_steady, _heat_data, mutates=True, sizes=(24, 15)),
    Program(wave_on_a_string, _wave_data, sizes=(101, 61), raises=True),
    Program(gray_scott, _gray_scott_data, sizes=(32, 20)),
    Program(lattice_boltzmann, _boltzmann_data, sizes=(16, 24)),
    Program(forest_fire, _fire_data, mutates=True, sizes=(24, 15)),
    Program(elementary_automaton, _automaton_data, sizes=(80, 35)),
    Program(topple_sandpile, _sandpile_data, mutates=True, sizes=(20, 11)),
    Program(traffic_jam, _traffic_data, sizes=(20, 33)),
    Program(leapfrog_nbody, _nbody_data, mutates=True, sizes=(6, 4)),
    Program(damped_pendulum, _pendulum_data, sizes=(40, 15)),
    Program(bouncing_balls, _ball_data, sizes=(900, 500)),
    Program(ising_sweeps, _ising_data, sizes=(12, 9)),
    Program(
        random_walk_exit,
        lambda rng, size: (rng.normal(size=(size, 120, 2)), float(rng.uniform(5, 14))),
        sizes=(40, 25),
    ),
    Program(queue_of_customers, _queue_data, sizes=(600, 250)),
    Program(langevin_double_well, _langevin_data, sizes=(2000, 900), raises=True),
    Program(sir_with_lockdown, _sir_data, sizes=(1500, 700)),
    Program(thermostat, _thermostat_data, sizes=(4000, 1500)),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
