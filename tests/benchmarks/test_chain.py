from benchmarks.chain import memory, round_trip, throughput


def test_both_nodes_run_and_are_timed():
    rows = throughput(200, 8, 64, 4, 1)
    assert len(rows) == 4
    assert all(float(measured) > 0 for _, measured, _ in rows)


def test_a_line_comes_back_soon():
    _, milliseconds, _ = round_trip(8, 64)
    assert float(milliseconds) < 20, "with delayed acknowledgements it would be above 40"


def test_memory_is_flat():
    _, growth, _ = memory(20_000)
    assert float(growth) < 15, "the lines alone are 20 MB, their headers 20 MB more"
