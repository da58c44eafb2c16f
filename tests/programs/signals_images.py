"""Signals and images: filters, edges, thresholds, shapes, fractals, transforms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from programs.program import Program


def blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """A grey image with bright discs on a dark ground, and noise."""
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size), 60.0)
    for _ in range(int(rng.integers(2, 6))):
        cy, cx = rng.uniform(0, size, 2)
        radius = rng.uniform(0.1, 0.25) * size
        image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] += rng.uniform(80, 140)
    image += rng.normal(scale=12, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def tones(rng: np.random.Generator, size: int) -> np.ndarray:
    t = np.arange(size)
    signal = np.zeros(size)
    for _ in range(3):
        signal += rng.uniform(0.3, 1.5) * np.sin(rng.uniform(0.05, 0.6) * t + rng.uniform(0, 6))
    return signal + 0.2 * rng.normal(size=size)


# Images.


def median_filter(
    image: np.ndarray, radius: int, only_extremes: bool
) -> tuple[np.ndarray, int]:
    """Median filter with a window cut at the borders; may spare pixels that are no extremes."""
    rows, cols = image.shape
    result = image.copy()
    changed = 0
    for r in range(rows):
        for c in range(cols):
            window = image[
                max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1
            ]
            if only_extremes and window.min() < image[r, c] < window.max():
                continue
            median = np.sort(window, axis=None)[window.size // 2]
            if median != image[r, c]:
                result[r, c] = median
                changed += 1
    return result, changed


def _median_data(rng: np.random.Generator, size: int) -> tuple:
    return blobs(rng, size), int(rng.integers(1, 3)), bool(rng.random() < 0.5)


def sobel_edges(image: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Sobel gradient, thresholded at a share of its maximum: magnitude, directions, count."""
    kx = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    ky = kx.T
    padded = np.pad(image.astype(float), 1, mode="edge")
    h, w = image.shape
    gx = np.zeros((h, w))
    gy = np.zeros((h, w))
    for i in range(3):
        for j in range(3):
            part = padded[i : i + h, j : j + w]
            if kx[i, j]:
                gx += kx[i, j] * part
            if ky[i, j]:
                gy += ky[i, j] * part
    magnitude = np.hypot(gx, gy)
    edges = magnitude > share * magnitude.max()
    directions = np.full((h, w), -1, dtype=np.int8)
    for r in range(h):
        for c in range(w):
            if edges[r, c]:
                angle = np.degrees(np.arctan2(gy[r, c], gx[r, c])) % 180
                if angle < 22.5 or angle >= 157.5:
                    directions[r, c] = 0
                elif angle < 67.5:
                    directions[r, c] = 1
                else:
                    directions[r, c] = 2 if angle < 112.5 else 3
    return magnitude, directions, np.count_nonzero(edges)


def _sobel_data(rng: np.random.Generator, size: int) -> tuple:
    return blobs(rng, size), float(rng.uniform(0.2, 0.6))


def otsu_threshold(image: np.ndarray) -> tuple[int, float, np.ndarray]:
    """Otsu's threshold of a grey image, the variance between the classes, and the mask."""
    histogram = np.zeros(256, dtype=int)
    for value in image.ravel():
        histogram[value] += 1
    total = image.size
    sum_all = sum(i * int(count) for i, count in enumerate(histogram))
    weight = 0
    sum_below = 0.0
    best, threshold = 0.0, 0
    for level in range(256):
        weight += histogram[level]
        if weight == 0:
            continue
        rest = total - weight
        if rest == 0:
            break
        sum_below += level * histogram[level]
        below = sum_below / weight
        above = (sum_all - sum_below) / rest
        between = weight * rest * (below - above) ** 2 / total**2
        if between > best:
            best, threshold = between, level
    return threshold, float(best), image > threshold


def flood_fill(image: np.ndarray, row: int, col: int, new: int, tolerance: int) -> int:
    """Fills an area of about one grey in place, with a stack; the number of pixels filled."""
    if not (0 <= row < image.shape[0] and 0 <= col < image.shape[1]):
        raise IndexError("the seed is outside of the image")
    old = int(image[row, col])
    if abs(old - new) <= tolerance:
        return 0
    stack = [(row, col)]
    filled = 0
    while stack:
        r, c = stack.pop()
        if r < 0 or c < 0 or r >= image.shape[0] or c >= image.shape[1]:
            continue
        if abs(int(image[r, c]) - old) > tolerance:
            continue
        image[r, c] = new
        filled += 1
        stack.extend([(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)])
    return filled


def _flood_data(rng: np.random.Generator, size: int) -> tuple:
    row, col = rng.integers(0, size, 2)
    return blobs(rng, size), int(row), int(col), 255, 40


def erode_until_gone(mask: np.ndarray) -> tuple[np.ndarray, int, list[int]]:
    """Erodes a shape until nothing is left: depth of each pixel, rounds, areas on the way."""
    depth = np.zeros(mask.shape, dtype=int)
    current = mask.copy()
    areas = [int(current.sum())]
    while current.any():
        depth[current] += 1
        padded = np.pad(current, 1)
        current = (
            padded[1:-1, 1:-1]
            & padded[:-2, 1:-1]
            & padded[2:, 1:-1]
            & padded[1:-1, :-2]
            & padded[1:-1, 2:]
        )
        areas.append(int(current.sum()))
    return depth, len(areas) - 1, areas


def convolve_image(image: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    """Convolution of an image by loops over the kernel, for the modes same and valid."""
    kh, kw = kernel.shape
    if kh % 2 == 0 or kw % 2 == 0:
        raise ValueError("the kernel must have odd sides")
    if mode == "same":
        image = np.pad(image, ((kh // 2, kh // 2), (kw // 2, kw // 2)))
    elif mode != "valid":
        raise ValueError(f"unknown mode {mode!r}")
    h, w = image.shape[0] - kh + 1, image.shape[1] - kw + 1
    result = np.zeros((h, w))
    flipped = kernel[::-1, ::-1]
    for i in range(kh):
        for j in range(kw):
            if flipped[i, j] == 0:
                continue
            result += flipped[i, j] * image[i : i + h, j : j + w]
    return result


def _convolve_data(rng: np.random.Generator, size: int) -> tuple:
    side = int(rng.choice([3, 5, 4, 7, 5]))
    kernel = rng.normal(size=(side, side)) * (rng.random((side, side)) < 0.7)
    return rng.random((size, size)), kernel, str(rng.choice(["same", "valid"]))


def equalise_histogram(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of a grey image by its cumulated histogram."""
    histogram = np.bincount(image.ravel(), minlength=256)
    cumulated = histogram.cumsum()
    lowest = cumulated[cumulated > 0].min()
    span = image.size - lowest
    if span == 0:
        return image.copy()
    table = np.empty(256, dtype=np.uint8)
    for level in range(256):
        scaled = round(255 * (cumulated[level] - lowest) / span)
        table[level] = min(max(scaled, 0), 255)
    return table[image]


def label_regions(mask: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Two-pass labelling of the regions of a mask: labels, count, and boxes."""
    rows, cols = mask.shape
    labels = np.zeros((rows, cols), dtype=np.int32)
    parent = [0]

    def find(a: int) -> int:
        while parent[a] != a:
            a = parent[a]
        return a

    for r in range(rows):
        for c in range(cols):
            if not mask[r, c]:
                continue
            up = labels[r - 1, c] if r > 0 else 0
            left = labels[r, c - 1] if c > 0 else 0
            if up == 0 and left == 0:
                parent.append(len(parent))
                labels[r, c] = len(parent) - 1
            elif up and left:
                a, b = find(up), find(left)
                labels[r, c] = min(a, b)
                parent[max(a, b)] = min(a, b)
            else:
                labels[r, c] = max(up, left)
    names: dict[int, int] = {}
    boxes = []
    for r in range(rows):
        for c in range(cols):
            if labels[r, c] == 0:
                continue
            root = find(labels[r, c])
            if root not in names:
                names[root] = len(names) + 1
                boxes.append([r, c, r, c])
            name = names[root]
            labels[r, c] = name
            box = boxes[name - 1]
            box[1] = min(box[1], c)
            box[2] = max(box[2], r)
            box[3] = max(box[3], c)
    return labels, len(names), np.array(boxes)


def dither(image: np.ndarray) -> np.ndarray:
    """Floyd and Steinberg's dithering of a grey image to black and white."""
    work = image.astype(np.float64)
    h, w = work.shape
    for r in range(h):
        for c in range(w):
            old = work[r, c]
            new = 255.0 if old >= 128 else 0.0
            work[r, c] = new
            error = old - new
            if c + 1 < w:
                work[r, c + 1] += error * 7 / 16
            if r + 1 < h:
                if c > 0:
                    work[r + 1, c - 1] += error * 3 / 16
                work[r + 1, c] += error * 5 / 16
                if c + 1 < w:
                    work[r + 1, c + 1] += error * 1 / 16
    return work.astype(np.uint8)


def hysteresis_edges(strength: np.ndarray, low: float, high: float) -> tuple[np.ndarray, int]:
    """Edges that hang together with a strong pixel, grown until nothing more joins them."""
    if low > high:
        raise ValueError("low threshold is above the high one")
    candidates = strength >= low
    edges = strength >= high
    rounds = 0
    grown = True
    while grown:
        padded = np.pad(edges, 1)
        near = np.zeros_like(edges)
        for dr in range(3):
            for dc in range(3):
                near |= padded[dr : dr + edges.shape[0], dc : dc + edges.shape[1]]
        new = candidates & near & ~edges
        grown = new.any()
        edges |= new
        rounds += 1
    return edges, rounds


def _hysteresis_data(rng: np.random.Generator, size: int) -> tuple:
    low, high = rng.uniform(0.5, 0.72), rng.uniform(0.72, 0.999)
    if rng.random() < 0.1:
        low, high = high, low
    return rng.random((size, size)), float(low), float(high)


# Fractals.


def mandelbrot(width: int, height: int, centre: complex, zoom: float, limit: int) -> np.ndarray:
    """Escape times of the Mandelbrot set, for all the points at once with a mask."""
    x = np.linspace(-1.5, 1.5, width) / zoom + centre.real
    y = np.linspace(-1.0, 1.0, height) / zoom + centre.imag
    c = x[None, :] + 1j * y[:, None]
    z = np.zeros_like(c)
    escape = np.full(c.shape, limit)
    alive = np.ones(c.shape, dtype=bool)
    for step in range(limit):
        z[alive] = z[alive] ** 2 + c[alive]
        out = alive & (np.abs(z) > 2)
        escape[out] = step
        alive &= ~out
        if not alive.any():
            break
    return escape


def _mandelbrot_data(rng: np.random.Generator, size: int) -> tuple:
    centre = complex(rng.uniform(-1.5, 0.4), rng.uniform(-1, 1))
    return 3 * size // 2, size, centre, float(2 ** rng.uniform(0, 5)), 60


def julia_point_by_point(c: complex, size: int, limit: int) -> tuple[np.ndarray, float]:
    """Escape times of a Julia set, one point after the other, and the share that stays."""
    counts = np.zeros((size, size), dtype=int)
    inside = 0
    for i, y in enumerate(np.linspace(-1.2, 1.2, size)):
        for j, x in enumerate(np.linspace(-1.6, 1.6, size)):
            z = complex(x, y)
            n = 0
            while abs(z) <= 2 and n < limit:
                z = z * z + c
                n += 1
            counts[i, j] = n
            inside += n == limit
    return counts, inside / size**2


def _julia_data(rng: np.random.Generator, size: int) -> tuple:
    return complex(rng.uniform(-0.9, 0.3), rng.uniform(0, 0.8)), size, 50


# Signals.


def iir_filter(b: np.ndarray, a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Digital filter given by two polynomials, by its recurrence."""
    if a[0] == 0:
        raise ValueError("the first coefficient of the denominator is zero")
    if a[0] != 1:
        b = b / a[0]
        a = a / a[0]
    y = np.zeros(len(x))
    for n in range(len(x)):
        total = 0.0
        for k in range(len(b)):
            if n - k >= 0:
                total += b[k] * x[n - k]
        for k in range(1, len(a)):
            if n - k >= 0:
                total -= a[k] * y[n - k]
        y[n] = total
    return y


def _iir_data(rng: np.random.Generator, size: int) -> tuple:
    a = np.poly(rng.uniform(-0.8, 0.8, int(rng.integers(1, 4))))
    a *= rng.choice([0.0, 1.0, 2.0])
    return rng.normal(size=int(rng.integers(1, 4))), a, tones(rng, size)


def fir_filter(x: np.ndarray, taps: np.ndarray, decimate: int) -> np.ndarray:
    """FIR filter with a ring buffer, of which only each so-manieth output is computed."""
    n_taps = len(taps)
    ring = np.zeros(n_taps)
    position = 0
    output = []
    for n, sample in enumerate(x):
        ring[position] = sample
        if n % decimate == 0:
            total = 0.0
            index = position
            for tap in taps:
                total += tap * ring[index]
                index = index - 1 if index > 0 else n_taps - 1
            output.append(total)
        position = (position + 1) % n_taps
    return np.array(output)


def _fir_data(rng: np.random.Generator, size: int) -> tuple:
    taps = np.hamming(int(rng.integers(5, 20)))
    return tones(rng, size), taps / taps.sum(), int(rng.integers(1, 4))


def moving_average_with_gaps(x: np.ndarray, window: int) -> tuple[np.ndarray, int]:
    """Running mean of the samples that are there; gaps of the result are NaN, and counted."""
    result = np.empty_like(x)
    total = 0.0
    present = 0
    gaps = 0
    for i in range(len(x)):
        if not np.isnan(x[i]):
            total += x[i]
            present += 1
        if i >= window and not np.isnan(x[i - window]):
            total -= x[i - window]
            present -= 1
        if present:
            result[i] = total / present
        else:
            result[i] = np.nan
            gaps += 1
    return result, gaps


def _gaps_data(rng: np.random.Generator, size: int) -> tuple:
    x = tones(rng, size)
    for start in rng.integers(0, size - 20, int(rng.integers(2, 12))):
        x[start : start + rng.integers(1, 20)] = np.nan
    return x, int(rng.integers(3, 10))


def find_peaks(x: np.ndarray, height: float, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Peaks above a height and apart from higher ones, and the widths at half their height."""
    peaks = []
    i = 1
    while i < len(x) - 1:
        if x[i] > x[i - 1] and x[i] >= height:
            ahead = i + 1
            while ahead < len(x) - 1 and x[ahead] == x[i]:
                ahead += 1
            if x[ahead] < x[i]:
                peaks.append((i + ahead - 1) // 2)
            i = ahead
        else:
            i += 1
    chosen: list[int] = []
    for p in sorted(peaks, key=lambda p: -x[p]):
        if all(abs(p - q) >= distance for q in chosen):
            chosen.append(p)
    chosen.sort()
    widths = np.zeros(len(chosen), dtype=int)
    for k, p in enumerate(chosen):
        left = right = p
        while left > 0 and x[left] > x[p] / 2:
            left -= 1
        while right < len(x) - 1 and x[right] > x[p] / 2:
            right += 1
        widths[k] = right - left
    return np.array(chosen, dtype=int), widths


def _peaks_data(rng: np.random.Generator, size: int) -> tuple:
    return np.round(tones(rng, size), 1), float(rng.uniform(0.3, 1.5)), int(rng.integers(2, 15))


def run_lengths(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run-length code of a row of small integers, checked by decoding; histogram of lengths."""
    values = []
    lengths = []
    i = 0
    while i < len(bits):
        j = i + 1
        while j < len(bits) and bits[j] == bits[i] and j - i < 15:
            j += 1
        values.append(bits[i])
        lengths.append(j - i)
        i = j
    decoded = []
    for value, length in zip(values, lengths, strict=True):
        decoded += [value] * length
    assert np.array_equal(decoded, bits)
    return np.array(values), np.array(lengths), np.bincount(lengths)


def _runs_data(rng: np.random.Generator, size: int) -> tuple:
    flips = rng.random(size) < rng.uniform(0.05, 0.4)
    return (np.cumsum(flips) % 3,)


def recursive_fft(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Fast Fourier transform by recursion, padded to a power of two, and its loudest bin."""

    def fft(x: np.ndarray) -> np.ndarray:
        n = len(x)
        if n == 1:
            return x
        if n <= 4:
            k = np.arange(n)
            return np.exp(-2j * np.pi * np.outer(k, k) / n) @ x
        even, odd = fft(x[::2]), fft(x[1::2])
        turned = np.exp(-2j * np.pi * np.arange(n // 2) / n) * odd
        return np.concatenate([even + turned, even - turned])

    n = 1
    while n < len(x):
        n *= 2
    padded = np.zeros(n, dtype=complex)
    padded[: len(x)] = x
    spectrum = fft(padded)
    return spectrum, int(np.argmax(np.abs(spectrum[: n // 2])))


def _fft_data(rng: np.random.Generator, size: int) -> tuple:
    return (tones(rng, int(rng.integers(size // 5, size))),)


@dataclass
class Adaptation:
    """Weights of an adaptive filter that learns by normalised LMS."""

    weights: np.ndarray
    rate: float
    updates: int = 0

    def predict(self, window: np.ndarray) -> float:
        return float(self.weights @ window)

    def learn(self, window: np.ndarray, error: float) -> None:
        power = window @ window
        if power > 1e-6:
            self.weights += self.rate * error * window / power
            self.updates += 1


def cancel_echo(
    played: np.ndarray, heard: np.ndarray, taps: int, rate: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Takes the echo of one signal out of another with an adaptive filter."""
    adaptation = Adaptation(np.zeros(taps), rate)
    cleaned = heard.copy()
    quiet = 0
    for n in range(taps - 1, len(heard)):
        window = played[n - taps + 1 : n + 1][::-1]
        error = heard[n] - adaptation.predict(window)
        cleaned[n] = error
        if abs(error) < 0.01:
            quiet += 1
            if quiet >= 50:
                echo = np.convolve(played, adaptation.weights)[: len(heard)]
                cleaned[n + 1 :] -= echo[n + 1 :]
                break
        else:
            quiet = 0
            adaptation.learn(window, error)
    return cleaned, adaptation.weights, adaptation.updates


def _echo_data(rng: np.random.Generator, size: int) -> tuple:
    played = rng.normal(size=size)
    echo = np.convolve(played, rng.normal(size=4) / 2)[:size]
    noise = rng.choice([0.0, 0.05])
    return played, echo + noise * rng.normal(size=size), 6, float(rng.uniform(0.2, 0.9))


PROGRAMS = [
    Program(median_filter, _median_data, sizes=(24, 15)),
    Program(sobel_edges, _sobel_data, sizes=(72, 41)),
    Program(otsu_threshold, lambda rng, size: (blobs(rng, size),), sizes=(90, 51)),
    Program(flood_fill, _flood_data, mutates=True, sizes=(48, 31)),
    Program(
        erode_until_gone,
        lambda rng, size: (blobs(rng, size) > rng.uniform(60, 130),),
        sizes=(160, 75),
    ),
    Program(convolve_image, _convolve_data, sizes=(300, 135), raises=True),
    Program(equalise_histogram, lambda rng, size: (blobs(rng, size),), sizes=(600, 310)),
    Program(
        label_regions,
        lambda rng, size: (rng.random((size, size)) < rng.uniform(0.3, 0.7),),
        sizes=(50, 31),
    ),
    Program(dither, lambda rng, size: (blobs(rng, size),), sizes=(40, 25)),
    Program(hysteresis_edges, _hysteresis_data, sizes=(260, 145), raises=True),
    Program(mandelbrot, _mandelbrot_data, sizes=(60, 35)),
    Program(julia_point_by_point, _julia_data, sizes=(40, 25)),
    Program(iir_filter, _iir_data, sizes=(1200, 500), raises=True),
    Program(fir_filter, _fir_data, sizes=(2000, 900)),
    Program(moving_average_with_gaps, _gaps_data, sizes=(5000, 2100)),
    Program(find_peaks, _peaks_data, sizes=(3000, 1100)),
    Program(run_lengths, _runs_data, sizes=(6000, 2500)),
    Program(recursive_fft, _fft_data, sizes=(1100, 400)),
    Program(cancel_echo, _echo_data, sizes=(1000, 450)),
]
MUTATES = [p.name for p in PROGRAMS if p.mutates]
