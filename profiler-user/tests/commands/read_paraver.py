"""Reads a Paraver trace by the rules of its format, as its tools do, and says what is in it as JSON.

In: the three files' common name. Out: sums, on stdout. Breaks off where a rule is broken. Knows nothing of who wrote them.
"""

import collections
import json
import re
import sys

base = sys.argv[1]
with open(base + ".prv", encoding="utf-8") as trace:
    lines = trace.read().splitlines()

# Date, length and its unit, nodes with their CPUs, applications, tasks with their threads and node.
header = re.fullmatch(
    r"#Paraver \((\d{2}/\d{2}/\d{4}) at (\d{2}:\d{2})\):(\d+)_ns:(\d+)\(([\d,]+)\):1:(\d+)\(([\d:,]+)\)",
    lines[0],
)
assert header, lines[0]
length = int(header[3])
cpus = [int(cpu) for cpu in header[5].split(",")]
assert len(cpus) == int(header[4])
threads = [tuple(map(int, task.split(":"))) for task in header[7].split(",")]
assert len(threads) == int(header[6])
assert all(node == 1 for _, node in threads)


def place(cpu, application, task, thread):
    assert 0 <= cpu <= sum(cpus) and application == 1
    assert 1 <= task <= len(threads) and 1 <= thread <= threads[task - 1][0]
    return task, thread


# Names: a table of states, and one of values for each type of event.
states, events, section, kind = {}, {}, None, None
with open(base + ".pcf", encoding="utf-8") as names:
    for line in names.read().splitlines():
        if re.fullmatch(r"[A-Z_]+", line):
            section = line
        elif section in ("STATES", "STATES_COLOR") and line:
            number, what = line.split(None, 1)
            states.setdefault(int(number), []).append(what)
        elif section == "EVENT_TYPE" and line:
            _, number, what = line.split(None, 2)
            kind = events.setdefault(int(number), {"name": what, "values": {}})
        elif section == "VALUES" and line:
            number, what = line.split(None, 1)
            kind["values"][int(number)] = what
assert all(re.fullmatch(r"\{\d+,\d+,\d+\}", named[1]) for named in states.values())

# Names of rows.
levels, rows = {}, None
with open(base + ".row", encoding="utf-8") as labels:
    for line in labels.read().splitlines():
        level = re.fullmatch(r"LEVEL ([A-Z]+) SIZE (\d+)", line)
        if level:
            rows = levels.setdefault(level[1], [])
            rows.append(int(level[2]))
        elif line:
            rows.append(line)
assert all(named[0] == len(named) - 1 for named in levels.values())
assert levels["CPU"][0] == sum(cpus)
assert levels["TASK"][0] == len(threads)
assert levels["THREAD"][0] == sum(count for count, _ in threads)

time = collections.defaultdict(lambda: collections.defaultdict(int))
waits = collections.defaultdict(lambda: collections.defaultdict(int))
path = collections.defaultdict(int)
sent = collections.defaultdict(lambda: [0, 0])
busy, since, before = {}, {}, 0
for line in lines[1:]:
    number, *fields = map(int, line.split(":"))
    if number == 1:
        cpu, application, task, thread, begin, end, state = fields
        who, at = place(cpu, application, task, thread), begin
        assert begin < end <= length and state in states
        # One state at a time.
        assert busy.get(who, 0) <= begin
        busy[who] = end
        time[task][states[state][0]] += end - begin
    elif number == 2:
        cpu, application, task, thread, at, *pairs = fields
        who = place(cpu, application, task, thread)
        assert pairs and len(pairs) % 2 == 0
        for what, value in zip(pairs[::2], pairs[1::2]):
            assert value in events[what]["values"]
            was, then = since.pop((who, what), (0, at))
            if was and "path" in events[what]["name"]:
                path[task] += at - then
            elif was:
                waits[task][events[what]["values"][was]] += at - then
            if value:
                since[who, what] = (value, at)
    else:
        assert number == 3
        ours, at, physical = place(*fields[:4]), fields[4], fields[5]
        theirs, read, arrived, size, _ = place(*fields[6:10]), *fields[10:]
        assert at <= physical <= arrived <= read <= length
        count = sent[ours[0], theirs[0]]
        count[0] += 1
        count[1] += size
    # In the order of time.
    assert before <= at <= length
    before = at
assert not since

json.dump(
    {
        "length_ns": length,
        "tasks": levels["TASK"][1:],
        "time": [time[task + 1] for task in range(len(threads))],
        "waits": [waits[task + 1] for task in range(len(threads))],
        "path_ns": [path[task + 1] for task in range(len(threads))],
        "sent": [[a - 1, b - 1, *count] for (a, b), count in sorted(sent.items())],
    },
    sys.stdout,
)
