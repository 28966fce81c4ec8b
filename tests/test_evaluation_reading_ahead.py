# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Reading ahead: the order of `map`, a bounded number of results in memory, errors in their place."""

import threading
import time

import pytest

from univs_hf.evaluation.reading_ahead import read_ahead


def test_results_come_in_order_from_another_thread():
    threads = set()

    def read(item):
        threads.add(threading.get_ident())
        return 2 * item

    assert list(read_ahead(read, iter(range(50)))) == [2 * item for item in range(50)]
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert list(read_ahead(read, [])) == []


def test_few_results_wait():
    started = []
    results = read_ahead(lambda item: started.append(item) or item, range(100))
    assert next(results) == 0
    time.sleep(0.1)
    assert len(started) <= 8
    results.close()
    count = len(started)
    time.sleep(0.05)
    assert len(started) == count


def test_an_error_comes_where_its_results_would():
    def read(item):
        if item == 6:
            raise FileNotFoundError("frame 6")
        return item

    results = read_ahead(read, range(20))
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(FileNotFoundError, match="frame 6"):
        next(results)
