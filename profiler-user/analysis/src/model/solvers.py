"""Queues with known answers, solved by two programs of other people: ciw, which simulates, and LINE, which calculates.

Writes solvers.json beside it, which the tests in solvers.rs read:

    python3 -m venv v && v/bin/pip install ciw==3.2.7 line-solver==3.0.8.0
    v/bin/python profiler-user/analysis/src/model/solvers.py

Times are in milliseconds. It takes some minutes.
"""

import json
import math
import pathlib
import sys

import ciw

CUSTOMERS = 100_000
SEED = 1


def quantile(ordered, share):
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def simulated(rate, services, servers, route, customers=CUSTOMERS):
    """Time in the system of customers that pass the nodes of `route` one after the other (from 1 on)."""
    arrivals = [None] * len(services)
    arrivals[route[0] - 1] = ciw.dists.Exponential(rate)
    network = ciw.create_network(
        arrival_distributions=arrivals,
        service_distributions=services,
        number_of_servers=servers,
        # Where customers go after the node that they arrive at.
        routing=ciw.routing.ProcessBased(
            lambda individual, simulation: list(route[1:])
        ),
    )
    ciw.seed(SEED)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(customers / rate)
    came, left, visits = {}, {}, {}
    for record in simulation.get_all_records():
        number = record.id_number
        came[number] = min(came.get(number, math.inf), record.arrival_date)
        left[number] = max(left.get(number, 0.0), record.exit_date)
        visits[number] = visits.get(number, 0) + 1
    # Whoever is still on the way at the end is left out, and the first tenth, which found empty queues.
    done = sorted(n for n, count in visits.items() if count == len(route))
    times = sorted(left[n] - came[n] for n in done[len(done) // 10 :])
    return {
        "customers": len(times),
        "mean": sum(times) / len(times),
        "p50": quantile(times, 0.50),
        "p95": quantile(times, 0.95),
        "p99": quantile(times, 0.99),
    }


def by_ciw():
    exponential = lambda mean: ciw.dists.Exponential(1 / mean)
    always = ciw.dists.Deterministic
    gamma = lambda mean, scv: ciw.dists.Gamma(1 / scv, mean * scv)
    return {
        # One server, 1 ms each.
        "mm1": simulated(0.5, [exponential(1.0)], [1], [1]),
        "md1": simulated(0.6, [always(1.0)], [1], [1]),
        # It scatters more, and takes more customers to tell.
        "mg1": simulated(0.4, [gamma(1.0, 2.0)], [1], [1], 4 * CUSTOMERS),
        # A pool of four threads that each take 2 ms.
        "pool": simulated(1.6, [always(2.0)], [4], [1]),
        # A request that comes back to the same CPU for each of nine pieces.
        "pieces": simulated(0.6, [always(0.1)], [1], [1] * 9),
        # CPU, CPU, disk, CPU.
        "disk": simulated(
            0.8, [exponential(0.2), exponential(0.3)], [1, 1], [1, 1, 2, 1]
        ),
    }


def by_line():
    import line_solver as line

    def one(rate, service, servers=1):
        model = line.Network("one")
        source = line.Source(model, "source")
        queue = line.Queue(model, "queue", line.SchedStrategy.FCFS)
        queue.setNumberOfServers(servers)
        sink = line.Sink(model, "sink")
        requests = line.OpenClass(model, "requests")
        source.setArrival(requests, line.Exp(rate))
        queue.setService(requests, service)
        model.link(line.Network.serialRouting(source, queue, sink))
        table = line.SolverMVA(model).getAvgTable()
        row = table[table["Station"] == "queue"].iloc[0]
        return {"mean": float(row["RespT"]), "utilisation": float(row["Util"])}

    def two(rate, first, second):
        model = line.Network("two")
        source = line.Source(model, "source")
        nodes = [
            line.Queue(model, name, line.SchedStrategy.FCFS)
            for name in ("first", "second")
        ]
        sink = line.Sink(model, "sink")
        requests = line.OpenClass(model, "requests")
        source.setArrival(requests, line.Exp(rate))
        for node, mean in zip(nodes, (first, second)):
            node.setService(requests, line.Exp(1 / mean))
        model.link(line.Network.serialRouting(source, *nodes, sink))
        table = line.SolverMVA(model).getAvgTable()
        rows = table[table["Station"] != "source"]
        return {"mean": float(rows["RespT"].sum())}

    return {
        "mm1": one(0.7, line.Exp(1.0)),
        "mg1": one(0.6, line.Erlang.fitMeanAndSCV(1.0, 0.25)),
        "hyper": one(0.6, line.HyperExp.fitMeanAndSCV(1.0, 4.0)),
        "mm4": one(16.0, line.Exp(5.0), 4),
        "two": two(4.0, 0.2, 0.1),
    }


def main():
    path = pathlib.Path(__file__).with_name("solvers.json")
    found = json.loads(path.read_text()) if path.exists() else {}
    for name, solve in {"ciw": by_ciw, "line": by_line}.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        found[name] = solve()
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
