"""What other people's readers find in an export with single events: counts and sums, as JSON.

Arguments: the folder of Parquet tables, and the Perfetto trace."""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

folder, trace_file = map(Path, sys.argv[1:3])

table = pq.read_table(folder / "events.parquet")
first = pc.min(table["time_unix_ns"])
table = table.append_column("since_first_ns", pc.subtract(table["time_unix_ns"], first))
kinds = {}
for kind in pc.unique(table["kind"]).to_pylist():
    rows = table.filter(pc.equal(table["kind"], kind))
    sums = {name: pc.sum(rows[name]).as_py() or 0 for name in ["bytes", "tid", "cpu", "since_first_ns"]}
    kinds[kind] = {"rows": rows.num_rows} | sums

# Slices as Perfetto nests them: an end closes what was begun last on its track.
trace = Trace()
trace.ParseFromString(trace_file.read_bytes())
tracks, moments = {}, []
for place, packet in enumerate(trace.packet):
    if packet.HasField("track_descriptor"):
        tracks[packet.track_descriptor.uuid] = packet.track_descriptor
    elif packet.HasField("track_event"):
        moments.append((packet.timestamp, place, packet.track_event))
moments.sort(key=lambda moment: moment[:2])


def process(uuid):
    track = tracks[uuid]
    while not track.HasField("process"):
        track = tracks[track.parent_uuid]
    return track.process.process_name


open_slices, ended_ns = defaultdict(list), Counter()
turnarounds, parts_ns, begins, arrows = Counter(), defaultdict(Counter), {}, Counter()
for at, _, event in moments:
    track = event.track_uuid
    is_turnaround = tracks[track].name == "turnaround"
    if event.type == TrackEvent.TYPE_SLICE_BEGIN:
        assert not is_turnaround or not open_slices[track], "turnarounds of a thread overlap"
        open_slices[track].append((at, event))
    elif event.type == TrackEvent.TYPE_SLICE_END:
        begun, what = open_slices[track].pop()
        if is_turnaround:
            name = process(track)
            turnarounds[name] += 1
            parts = {a.name: a.uint_value for a in what.debug_annotations}
            handed_over = parts.pop("handed over")
            # A hand-over may have waited while the thread was still busy with something else.
            assert at - begun == sum(parts.values()) or handed_over, (at - begun, parts)
            parts_ns[name].update(parts)
    for flow in event.flow_ids:
        begins[flow] = (at, process(track))
    for flow in event.terminating_flow_ids:
        begun, sender = begins[flow]
        assert begun < at
        arrows[f"{sender} → {process(track)}"] += 1
assert not any(open_slices.values())

json.dump({"kinds": kinds, "turnarounds": turnarounds, "parts_ns": parts_ns, "arrows": arrows}, sys.stdout)
