//! What holds for every snapshot, whatever was measured.
//!
//! In: a snapshot and its JSON Schema. Out: nothing, or the first law that is broken.
//! Must not know: which workload ran.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::harness::{Snapshot, list, number};

const PARTS: [&str; 8] = [
    "on_cpu_ns",
    "run_queue_ns",
    "block_io_ns",
    "sleep_ns",
    "queued_ns",
    "receiving_ns",
    "handed_over_ns",
    "throttled_ns",
];

/// Checks a snapshot against its schema, and its numbers against each other.
///
/// # Errors
/// Names what does not hold.
pub fn check(snapshot: &Snapshot, schema: &Value) -> anyhow::Result<()> {
    jsonschema::validate(schema, &snapshot.0)
        .map_err(|error| anyhow::anyhow!("{}: {error}", error.instance_path()))?;
    for component in list(&snapshot.0, "components") {
        let who = || format!("component {}", component["name"]);
        turnaround(component).with_context(who)?;
        waits_for_cpus(component).with_context(who)?;
        waits_for_disks(component).with_context(who)?;
    }
    for edge in list(&snapshot.0, "edges") {
        let ends = || format!("edge {} → {}", edge["from"], edge["to"]);
        for dist in ["latency_ns", "service_ns", "receiving_ns"] {
            if dist == "latency_ns" || !edge[dist].is_null() {
                distribution(&edge[dist])
                    .with_context(|| dist.to_owned())
                    .with_context(ends)?;
            }
        }
        let answered = number(edge, "roundtrips")?;
        let (timed, untimed) = (number(edge, "latency_ns/count")?, number(edge, "untimed")?);
        ensure!(
            answered == timed + untimed || edge["acceptor_only"] == true,
            "{}: {answered} roundtrips, {timed} latencies, {untimed} untimed",
            ends()
        );
        ensure!(
            untimed == 0 || edge["lower_bound"] == true,
            "{}: {untimed} untimed, and no mark",
            ends()
        );
    }
    for entry in list(&snapshot.0, "entries") {
        request(snapshot, entry).with_context(|| format!("entry {}", entry["component"]))?;
    }
    Ok(())
}

/// Whoever had the CPU while a component waited for it had it for as long as that waited.
fn waits_for_cpus(component: &Value) -> anyhow::Result<()> {
    let cpu = &component["cpu"];
    if cpu["run_queue_by"].is_null() {
        return Ok(());
    }
    let mut sum = 0;
    for by in list(cpu, "run_queue_by") {
        sum += number(by, "ns")?;
    }
    ensure!(sum == number(cpu, "run_queue_ns")?, "{sum}: {cpu}");
    Ok(())
}

/// Nobody waits behind others for longer than for its disk requests, or behind itself.
fn waits_for_disks(component: &Value) -> anyhow::Result<()> {
    let disk = &component["disk"];
    if disk["queued_behind"].is_null() {
        return Ok(());
    }
    let mut sum = 0;
    for by in list(disk, "queued_behind") {
        sum += number(by, "ns")?;
        ensure!(by["component"] != component["id"], "{disk}");
    }
    ensure!(sum <= number(disk, "latency_ns/sum_ns")?, "{sum}: {disk}");
    Ok(())
}

/// The parts add up to the whole, and the recipients to the component, to the nanosecond.
fn turnaround(component: &Value) -> anyhow::Result<()> {
    let whole = &component["turnaround"];
    parts(whole)?;
    distribution(&whole["each_ns"])?;
    ensure!(whole["each_ns"]["count"] == whole["count"], "{whole}");
    ensure!(whole["each_ns"]["sum_ns"] == whole["total_ns"], "{whole}");
    for field in PARTS.iter().chain(&["count", "total_ns"]) {
        let mut sum = 0;
        for recipient in list(whole, "by_recipient") {
            parts(recipient)?;
            sum += number(recipient, field)?;
        }
        ensure!(
            sum == number(whole, field)?,
            "{field} of the recipients: {sum}, of the whole: {}",
            whole[field]
        );
    }
    for dist in [
        "requests/service_ns",
        "requests/queued_ns",
        "disk/latency_ns",
    ] {
        let value = component.pointer(&format!("/{dist}"));
        distribution(value.context(dist)?).context(dist)?;
    }
    let requests = &component["requests"];
    let timed = number(requests, "service_ns/count")?;
    ensure!(
        timed + number(requests, "untimed")? == number(requests, "served")?,
        "{requests}"
    );
    Ok(())
}

fn parts(whole: &Value) -> anyhow::Result<()> {
    let sum = PARTS
        .iter()
        .map(|part| number(whole, part))
        .sum::<anyhow::Result<u64>>()?;
    ensure!(sum == number(whole, "total_ns")?, "parts: {sum}, {whole}");
    Ok(())
}

fn distribution(dist: &Value) -> anyhow::Result<()> {
    let value = |name: &str| number(dist, name);
    let steps = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "max_ns"].map(value);
    let steps = steps.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(steps.is_sorted(), "quantiles do not ascend: {dist}");
    let (min, max) = (value("min_ns")?, value("max_ns")?);
    let (count, sum) = (value("count")?, value("sum_ns")?);
    ensure!(
        (min * count..=max * count).contains(&sum),
        "the mean is not between the extremes: {dist}"
    );
    let counted: u64 = list(dist, "buckets")
        .filter_map(|bucket| bucket[1].as_u64())
        .sum();
    ensure!(counted == count, "buckets hold {counted}: {dist}");
    Ok(())
}

/// Courts, network and the rest add up to the request, and the parts of each court to its turnaround. Where something was
/// not timed, what is left over is not known.
fn request(snapshot: &Snapshot, entry: &Value) -> anyhow::Result<()> {
    let real = |value: &Value| value.as_f64().context("not a number");
    let same = |sum: f64, whole: f64| (sum - whole).abs() <= 1e-6 * whole.max(1.0);
    let mut sum = real(&entry["network_ns"])?;
    for court in list(entry, "courts") {
        let whole = real(&court["turnaround_ns"])?;
        let parts = PARTS.iter().map(|part| real(&court[*part]));
        let parts = parts.sum::<anyhow::Result<f64>>()?;
        // Nobody here can know the parts of what is on another host.
        let is_remote = list(&snapshot.0, "components")
            .any(|one| one["id"] == court["component"] && one["kind"] == "remote");
        ensure!(is_remote || same(parts, whole), "parts: {parts}, {court}");
        // What serves nobody holds nothing.
        let beside = ["unread_ns", "held_ns"].map(|part| court[part].as_f64().unwrap_or(0.0));
        sum += whole + beside.iter().sum::<f64>();
    }
    let Some(other) = entry["other_ns"].as_f64() else {
        let told = |court: &Value| !court["held_unknown"].is_null();
        let why = entry["mean_ns"].is_null() || list(entry, "courts").any(told);
        ensure!(why, "no reason why other is not known: {entry}");
        return Ok(());
    };
    sum += other;
    let mean = real(&entry["mean_ns"])?;
    ensure!(same(sum, mean), "{sum} of {mean}");
    Ok(())
}
