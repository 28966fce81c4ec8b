# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Times the generator of moving shapes on one core.

    python benchmarks/moving_shapes.py [--videos 60 --frames 24 --size 128 --json FILE]

For each length of video: frames per second of processor time, which is what one core makes when it has nothing else
to do, and of wall time, which includes waiting for other programs; the load of the machine says how busy those were.
Plans, pictures, label maps and expressions are all made; nothing is encoded or written.
"""

import os

# Before numpy is imported: the generator needs no threads, and none shall run.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from univs_hf.data.moving_shapes import MovingShapesConfig, generate_video, seed_of  # noqa: E402

GOAL = 200.0


def run(num_videos: int, lengths: list[int], size: int) -> dict[str, Any]:
    """Makes videos of each length and prints a line for each."""
    rows = []
    print(f"{'frames':>8} {'videos':>8} {'ms/frame':>10} {'frames/s of CPU':>16} {'frames/s of wall':>17} {'load':>6}")
    for length in lengths:
        config = MovingShapesConfig(height=size, width=size, num_frames=length)
        generate_video(seed_of("validation", 0), config)
        wall, cpu = time.perf_counter(), time.process_time()
        for index in range(num_videos):
            generate_video(seed_of("validation", index), config)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        frames = num_videos * length
        row = {
            "frames": length,
            "videos": num_videos,
            "size": size,
            "cpu_frames_per_second": frames / cpu,
            "wall_frames_per_second": frames / wall,
            "load": os.getloadavg()[0],
        }
        rows.append(row)
        print(
            f"{length:>8} {num_videos:>8} {1000 * cpu / frames:>10.2f} {row['cpu_frames_per_second']:>16.0f} "
            f"{row['wall_frames_per_second']:>17.0f} {row['load']:>6.2f}"
        )
    print(f"goal at 24 frames of 128x128: {GOAL:.0f} frames/s per core")
    return {"cores": os.cpu_count(), "machine": platform.machine(), "numpy": np.__version__, "rows": rows}


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=60, help="videos of each length; default: %(default)s")
    parser.add_argument("--frames", type=int, nargs="+", default=[5, 24, 64], help="lengths of the videos")
    parser.add_argument("--size", type=int, default=128, help="height and width; default: %(default)s")
    parser.add_argument("--json", type=Path, default=None, help="file for all numbers")
    options = parser.parse_args()
    result = run(options.videos, options.frames, options.size)
    if options.json is not None:
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n")
        temporary.replace(options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
