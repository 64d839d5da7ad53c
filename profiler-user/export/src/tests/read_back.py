"""Reads what Courtside exported with other people's readers, and compares it with the snapshots."""

import csv
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

folder = Path(sys.argv[1])
snapshots = [json.loads(line) for line in (folder / "windows.ndjson").open()]
PARTS = "on_cpu_ns run_queue_ns block_io_ns sleep_ns queued_ns receiving_ns handed_over_ns throttled_ns".split()
WAITS = "lock_ns timer_ns socket_ns pipe_ns page_fault_ns other_ns".split()
POLLS = "empty_receives zero_timeout_polls yields spin_ns lower_bound".split()
DIST = ["count", "sum_ns", "min_ns", "p50_ns", "p90_ns", "p99_ns", "max_ns"]


def dist(prefix, value):
    cells = {f"{prefix}_{name}": value and value[name] for name in DIST}
    for place, name in enumerate(["bucket_upper_ns", "bucket_count"]):
        cells[f"{prefix}_{name}"] = value and [bucket[place] for bucket in value["buckets"]]
    return cells


def on_cpu(prefix, value):
    value = value or {}
    return {f"{prefix}{name}": value.get(name) for name in ["cycles", "instructions", "cpi"]}


def pick(value, names):
    return {name: value[name] for name in names.split()}


def expected(number, snapshot):
    """Every table's rows of one window, from the JSON."""
    tables = {name: [] for name in "windows components processes turnarounds run_queue_by locks queued_behind edges entries courts findings evidence probes programs".split()}

    def add(table, **cells):
        tables[table].append({"window": number} | cells)

    quality = snapshot["quality"]
    pmu = quality["pmu"]
    add(
        "windows",
        **pick(snapshot["window"], "start_unix_ns duration_ns"),
        tool_version=snapshot["tool_version"],
        **pick(snapshot["host"], "hostname kernel arch cpus boot_id steal_ns steal_unknown"),
        **pick(quality, "midlife_connections lower_bound folded_remotes"),
        **{f"lost_{name}": count for name, count in quality["lost"].items()},
        lost_other=0,
        pmu_state=pmu["state"],
        pmu_reason=pmu["reason"],
        pmu_running_ratio=pmu["running_ratio"],
        **pick(snapshot["cost"], "user_cpu_ns rss_bytes map_bytes"),
    )
    for probe in quality["probes"]:
        add("probes", **probe)
    for program in snapshot["cost"]["programs"]:
        add("programs", **program)
    for n, found in enumerate(snapshot["findings"]):
        edge = found["edge"] or {}
        names = "rule severity component says confidence remedy at_stake_ns"
        add("findings", finding=n, **pick(found, names), edge_from=edge.get("from"), edge_to=edge.get("to"))
        for evidence in found["evidence"]:
            add("evidence", finding=n, **evidence)
    for c in snapshot["components"]:
        counters = c["counters"] or {}
        turnaround = c["turnaround"]
        add(
            "components",
            **pick(c, "id name kind"),
            **{name: value for name, value in c["cpu"].items() if name != "run_queue_by"},
            threads=c["threads"],
            **{f"waits_{name}": (c["waits"] or {}).get(name) for name in WAITS},
            **{f"polls_{name}": (c["polls"] or {}).get(name) for name in POLLS},
            turnaround_lock_ns=turnaround["lock_ns"],
            turnaround_throttled_told=turnaround["throttled_told"],
            **{name: counters.get(name) for name in "cycles instructions llc_references llc_misses cpi".split()},
            counters_running_ratio=counters.get("running_ratio"),
            **{f"disk_{name}": c["disk"][name] for name in "reads writes read_bytes write_bytes".split()},
            **dist("disk_latency", c["disk"]["latency_ns"]),
            requests_served=c["requests"]["served"],
            requests_untimed=c["requests"]["untimed"],
            requests_lower_bound=c["requests"]["lower_bound"],
            **pick(c["requests"], "held_ns held_unknown"),
            **dist("service", c["requests"]["service_ns"]),
            **dist("queued", c["requests"]["queued_ns"]),
            **{f"turnaround_{name}": turnaround[name] for name in ["count", "total_ns", *PARTS]},
            **pick(turnaround, "unprompted_count unprompted_ns"),
            **on_cpu("turnaround_", turnaround["counters"]),
            **dist("turnaround_each", turnaround["each_ns"]),
        )
        for by in c["cpu"]["run_queue_by"] or []:
            add("run_queue_by", component=c["id"], by=by["component"], ns=by["ns"])
        for by in c["disk"]["queued_behind"] or []:
            add("queued_behind", component=c["id"], by=by["component"], ns=by["ns"])
        for lock in c["locks"] or []:
            holder = lock["holder"] or {}
            add(
                "locks",
                component=c["id"],
                **pick(lock, "address tgid waits wait_ns with_ball_ns"),
                **{f"holder_{name}": holder.get(name) for name in ["tid", "comm", "wait_ns"]},
            )
        for process in c["processes"]:
            add("processes", component=c["id"], **process)
        for to in turnaround["by_recipient"]:
            cells = {name: value for name, value in to.items() if name not in ("each_ns", "counters")}
            more = on_cpu("", to["counters"]) | dist("each", to["each_ns"])
            add("turnarounds", component=c["id"], **cells, **more)
    for edge in snapshot["edges"]:
        connects = edge["connects"]
        nested = ("latency_ns", "service_ns", "receiving_ns", "connects")
        cells = {name: value for name, value in edge.items() if name not in nested}
        add(
            "edges",
            **cells,
            **dist("latency", edge["latency_ns"]),
            **dist("service", edge["service_ns"]),
            **dist("receiving", edge["receiving_ns"]),
            **dist("connect", connects["latency_ns"]),
            connects_failed=connects["failed"],
            syn_retransmits=connects["syn_retransmits"],
        )
    for index, entry in enumerate(snapshot["entries"]):
        cells = {name: value for name, value in entry.items() if name != "courts"}
        add("entries", entry=index, **cells)
        for court in entry["courts"]:
            add("courts", entry=index, **court)
    return tables


def visible(value):
    """As the tables for people have it: what cannot be seen is written out."""
    return "".join(f"<{ord(c):04X}>" if ord(c) < 0x20 or ord(c) == 0x7F else c for c in value)


def text(value):
    match value:
        case str():
            return visible(value)
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)


wanted = {}
for number, snapshot in enumerate(snapshots):
    for table, more in expected(number, snapshot).items():
        wanted.setdefault(table, []).extend(more)

for table, rows in wanted.items():
    # Parquet: values, types, and names as dictionaries.
    file = pq.ParquetFile(folder / f"{table}.parquet")
    assert file.metadata.metadata[b"courtside.schema"] == b"courtside.tables/1"
    got = file.read()
    assert got.to_pylist() == rows, table
    for place, field in enumerate(got.schema):
        assert field.type in (pa.uint64(), pa.float64(), pa.bool_(), pa.string()) or field.type.value_type == pa.uint64(), field
    if rows:
        group = file.metadata.row_group(0)
        for place in range(group.num_columns):
            column = group.column(place)
            assert column.compression == "ZSTD", column
            if column.physical_type == "BYTE_ARRAY":
                assert column.has_dictionary_page, column
    # CSV: the same, as text; a number with a fraction is compared as a number.
    with (folder / f"{table}.csv").open(newline="") as lines:
        read = list(csv.DictReader(lines))
    assert len(read) == len(rows), table
    for line, row in zip(read, rows):
        for name, value in row.items():
            same = float(line[name]) == value if isinstance(value, float) else line[name] == text(value)
            assert same, (table, name, line[name], value)
        assert len(line) == len(row), table

# Perfetto: every rate of every window, by its own field numbers.
trace = Trace()
trace.ParseFromString((folder / "trace").read_bytes())
processes, counters, stands = {}, {}, {}
seen = {}
for packet in trace.packet:
    assert packet.trusted_packet_sequence_id == 1
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        if track.HasField("process"):
            assert track.process.pid > 0
            processes[track.uuid] = track.process.process_name
        else:
            assert track.HasField("counter")
            counters[track.uuid] = (processes.get(track.parent_uuid, ""), track.name)
    elif packet.HasField("track_event"):
        event = packet.track_event
        if event.type == TrackEvent.TYPE_COUNTER:
            key = (packet.timestamp, *counters[event.track_uuid])
            seen[key] = seen.get(key, 0) + event.double_counter_value
        else:
            assert event.type in (TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END)
            assert event.track_uuid in processes
for snapshot in snapshots:
    at = snapshot["window"]["start_unix_ns"]
    seconds = snapshot["window"]["duration_ns"] / 1e9
    served = {}  # two components may have one name
    for c in snapshot["components"]:
        served[c["name"]] = served.get(c["name"], 0) + c["requests"]["served"]
    for name, count in served.items():
        assert round(seen.get((at, name, "requests/s"), 0) * seconds) == count, name

print(f"{len(snapshots)} windows: csv, parquet and perfetto say the same")
