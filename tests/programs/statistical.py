"""Statistics and machine learning: clusters, regressions, filters, trees, resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from programs.program import Program


def clouds(rng: np.random.Generator, size: int, count: int, spread: float) -> np.ndarray:
    centres = rng.uniform(-5, 5, (count, 2))
    return centres[rng.integers(0, count, size)] + spread * rng.normal(size=(size, 2))


def two_classes(
    rng: np.random.Generator, size: int, gap: float, columns: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 2, size)
    return rng.normal(size=(size, columns)) + gap * labels[:, None], labels


# Clusters.


def k_means(
    points: np.ndarray, k: int, max_rounds: int = 100
) -> tuple[np.ndarray, np.ndarray, int]:
    """Lloyd's k-means until no point changes its cluster; empty ones get the farthest point."""
    centres = points[:k].copy()
    labels = np.full(len(points), -1)
    rounds = 0
    while rounds < max_rounds:
        rounds += 1
        distances = np.linalg.norm(points[:, None, :] - centres[None, :, :], axis=2)
        new_labels = distances.argmin(axis=1)
        if (new_labels == labels).all():
            break
        labels = new_labels
        for c in range(k):
            members = points[labels == c]
            if len(members) > 0:
                centres[c] = members.mean(axis=0)
            else:
                centres[c] = points[distances.min(axis=1).argmax()]
    return centres, labels, rounds


def _k_means_data(rng: np.random.Generator, size: int) -> tuple:
    return clouds(rng, size, 4, rng.uniform(0.5, 2.0)), int(rng.integers(3, 7))


def gaussian_mixture(
    x: np.ndarray, means: np.ndarray, tolerance: float
) -> dict[str, np.ndarray | float | int]:
    """EM for a mixture of normal distributions in one dimension, until the likelihood rests."""
    k = len(means)
    means = means.astype(float)
    variances = np.full(k, x.var())
    weights = np.full(k, 1 / k)
    old = -np.inf
    steps = 0
    while True:
        density = np.zeros((len(x), k))
        for j in range(k):
            z = (x - means[j]) ** 2 / variances[j]
            density[:, j] = weights[j] * np.exp(-z / 2) / np.sqrt(2 * np.pi * variances[j])
        total = density.sum(axis=1)
        likelihood = float(np.log(total).sum())
        steps += 1
        if abs(likelihood - old) < tolerance or steps >= 300:
            break
        old = likelihood
        share = density / total[:, None]
        for j in range(k):
            n_j = share[:, j].sum()
            if n_j < 1e-8:
                continue
            weights[j] = n_j / len(x)
            means[j] = share[:, j] @ x / n_j
            variances[j] = max(share[:, j] @ (x - means[j]) ** 2 / n_j, 1e-6)
    order = np.argsort(means)
    return {
        "means": means[order],
        "variances": variances[order],
        "weights": weights[order],
        "likelihood": likelihood,
        "steps": steps,
    }


def _mixture_data(rng: np.random.Generator, size: int) -> tuple:
    gap = rng.uniform(2, 6)
    x = rng.normal(size=size) + gap * (rng.random(size) < 0.4)
    return x, np.quantile(x, [0.2, 0.8]), 1e-4


def agglomerate(points: np.ndarray, longest: float) -> tuple[np.ndarray, list[float]]:
    """Average-linkage clusters, merged while the closest two are near enough."""
    clusters = [[i] for i in range(len(points))]
    distance = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    heights = []
    while len(clusters) > 1:
        best = (np.inf, -1, -1)
        for i in range(len(clusters)):
            for j in range(i + 1, len(clusters)):
                d = distance[np.ix_(clusters[i], clusters[j])].mean()
                if d < best[0]:
                    best = (d, i, j)
        d, i, j = best
        if d > longest:
            break
        heights.append(float(d))
        clusters[i] = clusters[i] + clusters.pop(j)
    labels = np.zeros(len(points), dtype=int)
    for name, members in enumerate(clusters):
        labels[members] = name
    return labels, heights


def _agglomerate_data(rng: np.random.Generator, size: int) -> tuple:
    return clouds(rng, size, 3, 0.8), float(rng.uniform(1, 6))


# Regressions and classifiers.


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def logistic_gradient_descent(
    x: np.ndarray, y: np.ndarray, rate: float, penalty: float
) -> tuple[np.ndarray, float, int, float]:
    """Logistic regression by gradient descent with a rate that is halved when the loss rises."""
    n, d = x.shape
    w = np.zeros(d + 1)
    design = np.column_stack([np.ones(n), x])

    def loss(w: np.ndarray) -> float:
        z = design @ w
        return float(np.mean(np.logaddexp(0, z) - y * z) + penalty * np.sum(w[1:] ** 2))

    current = loss(w)
    steps = 0
    while steps < 500:
        gradient = design.T @ (sigmoid(design @ w) - y) / n
        gradient[1:] += 2 * penalty * w[1:]
        if np.linalg.norm(gradient) < 1e-4:
            break
        candidate = w - rate * gradient
        new = loss(candidate)
        if new > current:
            rate *= 0.5
            if rate < 1e-6:
                raise RuntimeError("no step is short enough")
            continue
        w, current = candidate, new
        steps += 1
    accuracy = np.mean((design @ w > 0) == (y == 1))
    return w, current, steps, float(accuracy)


def _logistic_data(rng: np.random.Generator, size: int) -> tuple:
    x, y = two_classes(rng, size, rng.uniform(0.5, 3))
    return x, y, float(rng.uniform(0.5, 8)), 0.01


def logistic_irls(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Logistic regression by reweighted least squares: coefficients, standard errors, steps."""
    if not set(np.unique(y)) <= {0, 1}:
        raise ValueError("y must be of zeros and ones")
    if y.min() == y.max():
        raise ValueError("only one class")
    design = np.hstack([np.ones((len(x), 1)), x])
    beta = np.zeros(design.shape[1])
    for step in range(25):
        p = sigmoid(design @ beta)
        weight = np.clip(p * (1 - p), 1e-9, None)
        information = design.T @ (design * weight[:, None])
        delta = np.linalg.solve(information, design.T @ (y - p))
        beta += delta
        if np.max(np.abs(delta)) < 1e-8:
            return beta, np.sqrt(np.diag(np.linalg.inv(information))), step + 1
        if np.all(np.abs(y - p) < 1e-5):
            raise np.linalg.LinAlgError("the classes are separable")
    return beta, np.full(beta.size, np.nan), 25


def _irls_data(rng: np.random.Generator, size: int) -> tuple:
    gap = rng.uniform(0.2, 1.0)
    if gap > 0.65:
        gap = 12.0
    return two_classes(rng, size, gap, 4)


def ridge_cross_validation(
    x: np.ndarray, y: np.ndarray, penalties: np.ndarray, folds: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Ridge regression with the penalty of the lowest cross-validated error."""
    n, d = x.shape
    fold = np.arange(n) % folds
    errors = np.zeros(len(penalties))
    for i, penalty in enumerate(penalties):
        for k in range(folds):
            train, test = fold != k, fold == k
            a = x[train].T @ x[train] + penalty * np.eye(d)
            coefficients = np.linalg.solve(a, x[train].T @ y[train])
            errors[i] += np.sum((y[test] - x[test] @ coefficients) ** 2)
        if i >= 2 and errors[i] > errors[i - 1] > errors[i - 2]:
            errors[i + 1 :] = np.inf
            break
    best = penalties[np.argmin(errors)]
    return float(best), np.linalg.solve(x.T @ x + best * np.eye(d), x.T @ y), errors / n


def _ridge_data(rng: np.random.Generator, size: int) -> tuple:
    x = rng.normal(size=(size, 8))
    y = x @ rng.normal(size=8) + rng.uniform(0.5, 10) * rng.normal(size=size)
    return x, y, np.logspace(-2, 4, 13), 5


def lasso_coordinate_descent(
    x: np.ndarray, y: np.ndarray, penalty: float, tolerance: float
) -> tuple[np.ndarray, int, int]:
    """Lasso by coordinate descent: coefficients, sweeps, and how many are not zero."""
    n, d = x.shape
    w = np.zeros(d)
    residual = y - y.mean()
    scale = (x**2).sum(axis=0) / n
    sweeps = 0
    while sweeps < 1000:
        sweeps += 1
        biggest = 0.0
        for j in range(d):
            if scale[j] == 0:
                continue
            old = w[j]
            rho = x[:, j] @ residual / n + scale[j] * old
            if rho > penalty:
                w[j] = (rho - penalty) / scale[j]
            elif rho < -penalty:
                w[j] = (rho + penalty) / scale[j]
            else:
                w[j] = 0.0
            if w[j] != old:
                residual -= (w[j] - old) * x[:, j]
                biggest = max(biggest, abs(w[j] - old))
        if biggest < tolerance:
            break
    return w, sweeps, int(np.count_nonzero(w))


def _lasso_data(rng: np.random.Generator, size: int) -> tuple:
    x = rng.normal(size=(size, 20)) + rng.normal(size=(size, 1))
    truth = rng.normal(size=20) * (rng.random(20) < 0.3)
    return x, x @ truth + 0.3 * rng.normal(size=size), float(rng.uniform(0.02, 0.5)), 1e-6


def perceptron(
    x: np.ndarray, y: np.ndarray, max_epochs: int
) -> tuple[np.ndarray, float, list[int]]:
    """Rosenblatt's perceptron, until an epoch without mistakes: weights, bias, mistakes."""
    w = np.zeros(x.shape[1])
    b = 0.0
    mistakes = []
    for _epoch in range(max_epochs):
        wrong = 0
        for xi, yi in zip(x, y, strict=True):
            target = 1 if yi == 1 else -1
            if target * (w @ xi + b) <= 0:
                w += target * xi
                b += target
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, b, mistakes


def _perceptron_data(rng: np.random.Generator, size: int) -> tuple:
    return *two_classes(rng, size, rng.uniform(3, 8)), 30


@dataclass
class Stump:
    feature: int = 0
    threshold: float = 0.0
    left: float = 0.0
    right: float = 0.0

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.where(x[:, self.feature] <= self.threshold, self.left, self.right)


def best_stump(x: np.ndarray, y: np.ndarray) -> tuple[Stump, float]:
    best = Stump(left=y.mean(), right=y.mean())
    lowest = np.sum((y - y.mean()) ** 2)
    for feature in range(x.shape[1]):
        values = np.unique(x[:, feature])
        for low, high in zip(values[:-1], values[1:], strict=True):
            threshold = (low + high) / 2
            below = x[:, feature] <= threshold
            left, right = y[below].mean(), y[~below].mean()
            error = np.sum((y[below] - left) ** 2) + np.sum((y[~below] - right) ** 2)
            if error < lowest:
                lowest = error
                best = Stump(feature, threshold, left, right)
    return best, lowest


def decision_stump(x: np.ndarray, y: np.ndarray) -> tuple[int, float, float, float, float]:
    """The single split that explains most: feature, threshold, both means, error."""
    stump, error = best_stump(x, y)
    return stump.feature, float(stump.threshold), float(stump.left), float(stump.right), error


def gradient_boosting(
    x: np.ndarray, y: np.ndarray, rounds: int, rate: float, patience: float
) -> tuple[np.ndarray, list[float], np.ndarray]:
    """Boosted stumps for a regression, until the error falls too little."""
    prediction = np.full(len(y), y.mean())
    losses = [float(np.mean((y - prediction) ** 2))]
    uses = np.zeros(x.shape[1], dtype=int)
    for _ in range(rounds):
        stump, _error = best_stump(x, y - prediction)
        prediction += rate * stump.predict(x)
        uses[stump.feature] += 1
        losses.append(float(np.mean((y - prediction) ** 2)))
        if losses[-2] - losses[-1] < patience * losses[0]:
            break
    print(f"{len(losses) - 1} rounds, loss {losses[-1]:.4f}")
    return prediction, losses, uses


def _boosting_data(rng: np.random.Generator, size: int) -> tuple:
    x = np.round(rng.uniform(-2, 2, (size, 2)), 1)
    y = np.sin(2 * x[:, 0]) + (x[:, 1] > 0.3) + rng.uniform(0, 1) * rng.normal(size=size)
    return x, y, 6, 0.5, 0.03


def nearest_neighbours(
    train: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int
) -> tuple[np.ndarray, int]:
    """Classes by the vote of the k nearest neighbours; ties go to fewer neighbours."""
    if k > len(train):
        raise ValueError("k is larger than the training set")
    answers = np.empty(len(queries), dtype=labels.dtype)
    ties = 0
    for q, query in enumerate(queries):
        order = np.argsort(((train - query) ** 2).sum(axis=1), kind="stable")
        voters = k
        while True:
            votes = np.bincount(labels[order[:voters]])
            winners = np.flatnonzero(votes == votes.max())
            if len(winners) == 1:
                break
            ties += 1
            voters -= 1
        answers[q] = winners[0]
    return answers, ties


def _neighbours_data(rng: np.random.Generator, size: int) -> tuple:
    train = rng.normal(size=(size, 2))
    labels = (train[:, 0] > 0).astype(int) + (train[:, 1] > 0)
    k = size + 1 if train[0, 0] > 0.2 else int(rng.integers(2, 9))
    return train, labels, rng.normal(size=(size // 2, 2)), k


# Resampling and Markov chains, with the random numbers given.


def metropolis(
    x0: float, proposals: np.ndarray, uniforms: np.ndarray, scale: float
) -> tuple[np.ndarray, float, float]:
    """Metropolis samples of two normal humps: chain, accepted share, autocorrelation time."""

    def log_density(x: float) -> float:
        return np.logaddexp(-0.5 * (x + 1.5) ** 2, -0.5 * (x - 1.5) ** 2 - 0.5)

    chain = np.zeros(len(proposals))
    x, current = x0, log_density(x0)
    accepted = 0
    for i in range(len(proposals)):
        candidate = x + scale * proposals[i]
        new = log_density(candidate)
        if new >= current or np.log(uniforms[i]) < new - current:
            x, current = candidate, new
            accepted += 1
        chain[i] = x
    centred = chain - chain.mean()
    variance = centred @ centred / len(chain)
    time = 1.0
    for lag in range(1, len(chain) // 4):
        correlation = centred[:-lag] @ centred[lag:] / len(chain) / variance
        if correlation < 0.05:
            break
        time += 2 * correlation
    return chain, accepted / len(chain), float(time)


def _metropolis_data(rng: np.random.Generator, size: int) -> tuple:
    return 0.0, rng.normal(size=size), rng.random(size), float(rng.uniform(0.3, 4))


def bootstrap_interval(
    x: np.ndarray, y: np.ndarray, indices: np.ndarray, level: float
) -> tuple[float, float, float, int]:
    """Interval of a correlation from given resamples; constant resamples are left out."""

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(), b - b.mean()
        return float((a @ b) / np.sqrt((a @ a) * (b @ b)))

    estimates = []
    skipped = 0
    for sample in indices:
        xs, ys = x[sample], y[sample]
        if np.ptp(xs) == 0 or np.ptp(ys) == 0:
            skipped += 1
            continue
        estimates.append(correlation(xs, ys))
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2])
    return correlation(x, y), float(low), float(high), skipped


def _bootstrap_data(rng: np.random.Generator, size: int) -> tuple:
    x = rng.integers(0, 3, 6).astype(float)
    x[:2] = 0, 1
    y = np.round(x + rng.normal(size=6))
    y[:2] = 1, 2
    return x, y, rng.integers(0, 6, (size, 6)), 0.9


def permutation_test(
    a: np.ndarray, b: np.ndarray, orders: np.ndarray
) -> tuple[float, float, int]:
    """Difference of two means, its p value over given orders, and the orders needed for it."""
    observed = abs(a.mean() - b.mean())
    pooled = np.concatenate([a, b])
    extreme = count = 0
    for order in orders:
        count += 1
        shuffled = pooled[order]
        if abs(shuffled[: len(a)].mean() - shuffled[len(a) :].mean()) >= observed - 1e-12:
            extreme += 1
        if extreme >= 30:
            break
    return float(observed), (extreme + 1) / (count + 1), count


def _permutation_data(rng: np.random.Generator, size: int) -> tuple:
    a, b = rng.normal(size=12), rng.normal(size=15) + rng.uniform(0, 1.2)
    return a, b, rng.permuted(np.tile(np.arange(27), (size, 1)), axis=1)


# Series.


def kalman_track(
    measured: np.ndarray, dt: float, noise: float, gate: float
) -> dict[str, np.ndarray | int]:
    """Kalman filter of a moving point, with gaps (NaN) and outliers that a gate throws out."""
    f = np.array([[1.0, dt], [0.0, 1.0]])
    q = 0.1 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    state = np.zeros(2)
    p = 10.0 * np.eye(2)
    track = np.zeros((len(measured), 2))
    missing = rejected = 0
    for t, z in enumerate(measured):
        state = f @ state
        p = f @ p @ f.T + q
        if np.isnan(z):
            missing += 1
        else:
            innovation = z - state[0]
            s = p[0, 0] + noise**2
            if innovation**2 / s > gate:
                rejected += 1
            else:
                gain = p[:, 0] / s
                state = state + gain * innovation
                p = p - np.outer(gain, p[0])
        track[t] = state
    return {"track": track, "covariance": p, "missing": missing, "rejected": rejected}


def _kalman_data(rng: np.random.Generator, size: int) -> tuple:
    path = np.cumsum(0.3 * np.cumsum(0.2 * rng.normal(size=size)))
    measured = path + 0.5 * rng.normal(size=size)
    measured[rng.random(size) < rng.uniform(0, 0.3)] = np.nan
    measured[rng.random(size) < 0.03] += 15
    return measured, 1.0, 0.5, 12.0


def exponential_smoothing(
    x: np.ndarray, alphas: np.ndarray, season: int
) -> tuple[float, np.ndarray, float]:
    """Holt's smoothing with seasons, by the factor of the lowest error, and its forecast."""
    if len(x) < 2 * season:
        raise ValueError("too short for two seasons")
    best_error = float("inf")
    best_alpha, best_forecast = 0.0, np.zeros(season)
    for alpha in alphas:
        level = x[:season].mean()
        trend = (x[season : 2 * season].mean() - level) / season
        seasonal = [v - level for v in x[:season]]
        error = 0.0
        for i in range(season, len(x)):
            expected = level + trend + seasonal[i % season]
            error += (x[i] - expected) ** 2
            if error > best_error:
                break
            old = level
            level = alpha * (x[i] - seasonal[i % season]) + (1 - alpha) * (level + trend)
            trend = 0.3 * (level - old) + 0.7 * trend
            seasonal[i % season] = 0.2 * (x[i] - level) + 0.8 * seasonal[i % season]
        else:
            best_error = error
            best_alpha = float(alpha)
            best_forecast = np.array(
                [
                    level + h * trend + seasonal[(len(x) + h - 1) % season]
                    for h in range(1, season + 1)
                ]
            )
    return best_alpha, best_forecast, float(best_error)


def _smoothing_data(rng: np.random.Generator, size: int) -> tuple:
    t = np.arange(size)
    noise = rng.uniform(0.2, 2) * rng.normal(size=size)
    x = 10 + 0.05 * t + 2 * np.sin(2 * np.pi * t / 12) + noise
    return x, rng.permutation(np.linspace(0.05, 0.95, 10)), 12


class RunningMoments:
    """Welford's mean and variance, one number at a time."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.m2 = 0.0

    def add(self, x: float) -> None:
        self.n += 1
        delta = x - self.mean
        self.mean += delta / self.n
        self.m2 += delta * (x - self.mean)

    def deviation(self) -> float:
        return (self.m2 / (self.n - 1)) ** 0.5 if self.n > 1 else 0.0


def online_anomalies(x: np.ndarray, limit: float) -> tuple[float, float, np.ndarray]:
    """Mean and deviation of a stream, without the numbers that are far from those before."""
    moments = RunningMoments()
    odd = []
    for i, value in enumerate(x):
        deviation = moments.deviation()
        if moments.n >= 10 and deviation > 0 and abs(value - moments.mean) > limit * deviation:
            odd.append(i)
            continue
        moments.add(float(value))
    return moments.mean, moments.deviation(), np.array(odd, dtype=int)


def _anomaly_data(rng: np.random.Generator, size: int) -> tuple:
    return rng.standard_t(4, size), float(rng.uniform(2, 4))


# Descriptions.


def principal_components(
    x: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Principal components by power iteration, until they explain a share of the variance."""
    centred = x - x.mean(axis=0)
    covariance = centred.T @ centred / (len(x) - 1)
    total = np.trace(covariance)
    explained = 0.0
    components: list[np.ndarray] = []
    iterations = []
    variances = []
    while explained < share * total and len(components) < x.shape[1]:
        v = np.ones(x.shape[1]) / np.sqrt(x.shape[1])
        iteration = 0
        while iteration < 2000:
            iteration += 1
            w = covariance @ v
            for c in components:
                w -= (w @ c) * c
            w /= np.linalg.norm(w)
            change = min(np.linalg.norm(w - v), np.linalg.norm(w + v))
            v = w
            if change < 1e-9:
                break
        variance = float(v @ covariance @ v)
        components.append(v)
        variances.append(variance)
        iterations.append(iteration)
        explained += variance
    return np.array(components), np.array(variances), iterations


def _pca_data(rng: np.random.Generator, size: int) -> tuple:
    mix = rng.normal(size=(6, 6)) * np.array([3, 2, 1.2, 0.7, 0.4, 0.2])
    return rng.normal(size=(size, 6)) @ mix.T, float(rng.uniform(0.6, 0.99))


def isotonic_regression(y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Best rising step function through a series, by pooling of neighbours that violate."""
    means: list[float] = []
    masses: list[float] = []
    counts: list[int] = []
    for value, weight in zip(y, weights, strict=True):
        if weight <= 0:
            raise ValueError("weights must be positive")
        means.append(value)
        masses.append(weight)
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mass = masses[-2] + masses[-1]
            mean = (means[-2] * masses[-2] + means[-1] * masses[-1]) / mass
            count = counts[-2] + counts[-1]
            for stack, new in ((means, mean), (masses, mass), (counts, count)):
                stack.pop()
                stack[-1] = new
    return np.repeat(means, counts), len(means)


def _isotonic_data(rng: np.random.Generator, size: int) -> tuple:
    y = rng.uniform(0, 5) * np.linspace(0, 1, size) + rng.normal(size=size)
    weights = rng.uniform(0.5, 2, size)
    if rng.random() < 0.4:
        weights[-1] = 0
    return y, weights


def rank_sum_test(a: np.ndarray, b: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Mann and Whitney's U with mid-ranks for ties: U, z score, ranks."""
    pooled = np.concatenate((a, b))
    order = np.argsort(pooled, kind="stable")
    ranks = np.zeros(len(pooled))
    correction = 0.0
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and pooled[order[j + 1]] == pooled[order[i]]:
            j += 1
        ranks[order[i : j + 1]] = (i + j) / 2 + 1
        tied = j - i + 1
        if tied > 1:
            correction += tied**3 - tied
        i = j + 1
    n, m = len(a), len(b)
    u = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - correction / (total * (total - 1)))
    z = (u - n * m / 2) / np.sqrt(variance) if variance > 0 else 0.0
    return float(u), float(z), ranks


def _rank_data(rng: np.random.Generator, size: int) -> tuple:
    grain = int(rng.choice([5, 50, 500]))
    return rng.integers(0, grain, size), rng.integers(0, grain, size) + grain // 5


def huber_location(x: np.ndarray, k: float = 1.345) -> tuple[float, float, int, int]:
    """Huber's robust mean by reweighting: location, scale, rounds, and numbers held back."""
    location = float(np.median(x))
    scale = float(np.median(np.abs(x - location))) / 0.6745
    if scale == 0:
        return location, 0.0, 0, 0
    rounds = 0
    while rounds < 100:
        weights = np.ones(len(x))
        for i, value in enumerate(x):
            r = abs(value - location) / scale
            if r > k:
                weights[i] = k / r
        new = float(np.sum(weights * x) / weights.sum())
        rounds += 1
        if abs(new - location) < 1e-7 * scale:
            location = new
            break
        location = new
    else:
        raise RuntimeError("the location does not settle")
    return location, scale, rounds, int((weights < 1).sum())


def _huber_data(rng: np.random.Generator, size: int) -> tuple:
    x = rng.standard_t(2, size)
    if x[0] > 0.8:
        x[: size // 2 + 2] = 1.0
    return (x,)


PROGRAMS = [
    Program(k_means, _k_means_data, sizes=(400, 170)),
    Program(gaussian_mixture, _mixture_data, sizes=(200, 90)),
    Program(agglomerate, _agglomerate_data, sizes=(20, 13)),
    Program(logistic_gradient_descent, _logistic_data, sizes=(120, 61)),
    Program(logistic_irls, _irls_data, sizes=(3000, 800), raises=True),
    Program(ridge_cross_validation, _ridge_data, sizes=(80, 45)),
    Program(lasso_coordinate_descent, _lasso_data, sizes=(150, 71)),
    Program(perceptron, _perceptron_data, sizes=(600, 250)),
    Program(decision_stump, lambda rng, size: two_classes(rng, size, 1.0, 3), sizes=(60, 35)),
    Program(gradient_boosting, _boosting_data, sizes=(50, 31)),
    Program(nearest_neighbours, _neighbours_data, sizes=(160, 75), raises=True),
    Program(metropolis, _metropolis_data, sizes=(1000, 450)),
    Program(bootstrap_interval, _bootstrap_data, sizes=(200, 90)),
    Program(permutation_test, _permutation_data, sizes=(400, 170)),
    Program(kalman_track, _kalman_data, sizes=(300, 130)),
    Program(exponential_smoothing, _smoothing_data, sizes=(240, 110)),
    Program(online_anomalies, _anomaly_data, sizes=(5000, 2100)),
    Program(principal_components, _pca_data, sizes=(200, 90)),
    Program(isotonic_regression, _isotonic_data, sizes=(4000, 1500), raises=True),
    Program(rank_sum_test, _rank_data, sizes=(800, 350)),
    Program(huber_location, _huber_data, sizes=(1000, 450)),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
