"""Test pictures in whole numbers, the same as TestPictures.swift makes: nothing but results needs to be stored."""

import numpy as np


def mix(x):
    """A 32-bit hash (lowbias32) of an array of numbers."""
    x = np.asarray(x, dtype=np.uint64) & 0xFFFFFFFF
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & np.uint64(0xFFFFFFFF)
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def picture(width, height, seed):
    """Smooth clouds with a disc of the opposite colours: [height, width, 3] of uint8."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    i, j, fx, fy = x // 16, y // 16, x % 16, y % 16

    def corner(di, dj):
        return (mix(seed * 1_000_003 + (i + di) * 4099 + (j + dj) * 7 + c) & np.uint64(255)).astype(np.int64)

    value = ((corner(0, 0) * (16 - fx) + corner(1, 0) * fx) * (16 - fy)
             + (corner(0, 1) * (16 - fx) + corner(1, 1) * fx) * fy) // 256
    inside = (x - width // 3) ** 2 + (y - height // 2) ** 2 < (min(width, height) // 4) ** 2
    return np.where(inside, 255 - value, value).astype(np.uint8)


def noisy(image, strength, seed):
    """Even noise of -strength...strength on every value, clamped."""
    index = np.arange(image.size, dtype=np.uint64).reshape(image.shape)
    noise = (mix(index + np.uint64(seed * 7_368_787)) % np.uint64(2 * strength + 1)).astype(np.int64) - strength
    return np.clip(image.astype(np.int64) + noise, 0, 255).astype(np.uint8)


def shifted(image):
    """One pixel to the right, the last column first."""
    return np.roll(image, 1, axis=1)


def dimmed(image):
    return (image.astype(np.int64) * 3 // 4 + 20).astype(np.uint8)


def inverted(image):
    return 255 - image


# Pairs by name: (frame, reference) of a size.
CHANGES = {"noise": lambda r: noisy(r, 12, 5), "shift": shifted, "dim": dimmed, "invert": inverted,
           "same": lambda r: r}


def pair(change, width, height, seed):
    reference = picture(width, height, seed)
    return CHANGES[change](reference), reference


def clip(width, height, frames, seed, strength):
    """A picture that moves to the right by two pixels a frame, with noise of its own in each."""
    base = picture(width, height, seed)
    return [noisy(np.roll(base, 2 * t, axis=1), strength, seed * 100 + t) for t in range(frames)]
