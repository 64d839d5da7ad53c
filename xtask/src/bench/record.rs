//! `cargo xtask bench record`: what recordings cost.
//!
//! In: the bench of the record module, which prints JSON. Out: docs/recording-cost.md.
//! Must not know: what a recording is made of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Machine, machine};
use crate::sh;

/// Measure, print, and write the page.
pub fn bench() -> Result<()> {
    let machine = machine()?;
    let folder = sh::target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let events = record_events(&folder)?;
    let output = sh::output(
        sh::cargo()
            .args([
                "bench",
                "--package",
                "profiler-user",
                "--bench",
                "record",
                "--",
            ])
            .arg(&folder)
            .args(events),
    )?;
    let last = output.lines().last().unwrap_or_default();
    let results: Value = serde_json::from_str(last).context("the bench printed no JSON")?;
    let page = page(&machine, &results);
    let path = sh::root().join("docs/recording-cost.md");
    fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{page}");
    eprintln!("xtask: written to docs/recording-cost.md");
    Ok(())
}

/// A recording of the busiest thing that two cores can do, where we may record and everything is built.
fn record_events(folder: &Path) -> Result<Option<PathBuf>> {
    let release = sh::target_dir().join("release");
    let [courtside, workload] = ["courtside", "courtside-workload"].map(|name| release.join(name));
    if !sh::is_root() || !courtside.exists() || !workload.exists() {
        eprintln!("xtask: no single events without root and: cargo xtask build --release");
        return Ok(None);
    }
    let path = folder.join("ping-pong.rec");
    let mut record = sh::command(courtside);
    record.args(["record", "--events", "--force", "-o"]);
    record.arg(&path).arg("--").arg(workload);
    record.args(["ping-pong", "--messages", "300000", "--transport", "tcp4"]);
    sh::output(record.args(["--connections", "2"]))?;
    Ok(Some(path))
}

fn page(machine: &Machine, results: &Value) -> String {
    let Machine {
        cpu,
        cpus,
        kernel,
        load,
        day,
    } = machine;
    let number = |path: &str| {
        results
            .pointer(path)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let count = |path: &str| format!("{:.0}", number(path));
    let ms = |path: &str| format!("{:.1} ms", number(path) / 1e6);
    let mb = |path: &str| format!("{:.1} MB", number(path) / 1e6);
    let share = |path: &str| format!("{:.3} %", 100.0 / number(path));
    let both = |what: &str, text: &dyn Fn(&str) -> String, name: &str| {
        format!(
            "| {what} | {} | {} |\n",
            text(&format!("/small/{name}")),
            text(&format!("/large/{name}"))
        )
    };
    let mut page = format!(
        "# What recordings cost\n\n\
         Written by `cargo xtask bench record`, which takes less than a minute. [recording.md](recording.md) has the format.\n\n\
         {day}, {cpus} × {cpu}, Linux {kernel}; load average before it began: {load}.\n\n\
         ## Windows\n\n\
         The windows are those of the golden recording of four programs in a chain, and the same 25 times over with other \
         numbers. One core does all of it.\n\n\
         | | four programs | a hundred |\n|---|---|---|\n"
    );
    page += &both("components", &count, "components");
    page += &both("flows", &count, "flows");
    page += &both("bytes on disk, a window", &count, "bytes_a_window");
    page += &both("bytes of JSON in it", &count, "json_bytes_a_window");
    page += &both(
        "an hour, a window every second",
        &|path| format!("{:.1} MB", number(path) * 3600.0 / 1e6),
        "bytes_a_window",
    );
    page += &both("written, windows a second", &count, "written_a_second");
    page += &both(
        "of a core, a window every second",
        &share,
        "written_a_second",
    );
    page += &both(
        "kept in memory for `R`, windows a second",
        &count,
        "kept_a_second",
    );
    page += &both("read, windows a second", &count, "read_a_second");
    page += &both(
        "read and folded, windows a second",
        &count,
        "read_and_folded_a_second",
    );
    page += &format!(
        "\n## A gigabyte\n\n\
         {} windows of the four programs, {}.\n\n\
         | opening it | takes | target |\n|---|---|---|\n\
         | nothing of it in memory | {} | 1 s |\n\
         | in memory | {} | |\n\
         | cut, as after `kill -9` | {} | |\n\
         | its index damaged, in memory | {} | |\n\
         | its index damaged, nothing in memory | {} | |\n\
         | the window in the middle, then | {} | |\n\n\
         An open recording of that size takes {} of memory: 40 bytes a record.\n",
        count("/gigabyte/windows"),
        mb("/gigabyte/bytes"),
        ms("/gigabyte/open_cold_ns"),
        ms("/gigabyte/open_warm_ns"),
        ms("/gigabyte/open_cut_ns"),
        ms("/gigabyte/open_without_index_ns"),
        ms("/gigabyte/open_without_index_cold_ns"),
        ms("/gigabyte/one_window_ns"),
        mb("/gigabyte/resident_bytes"),
    );
    if results["events"].is_object() {
        page += &format!(
            "\n## Single events\n\n\
             {} events of a ping-pong over TCP on two connections, as fast as these cores can, with all else that happened \
             on the host.\n\n\
             | | | target |\n|---|---|---|\n\
             | most events in a tenth of a second, as a rate | {} a second | |\n\
             | lost | {} | 0 |\n\
             | bytes on disk, an event | {:.2} | 12 |\n\
             | user time of Courtside, an event | {:.0} ns | |\n\
             | of a core, 200 000 events a second | {:.1} % | 10 % |\n\
             | put into columns, compressed and written, one core | {} a second | |\n\
             | read, one core | {} a second | 10 million |\n",
            count("/events/events"),
            count("/events/busiest_a_second"),
            count("/events/lost"),
            number("/events/bytes_an_event"),
            number("/events/user_ns_an_event"),
            number("/events/user_ns_an_event") * 200_000.0 / 1e7,
            count("/events/written_a_second"),
            count("/events/read_a_second"),
        );
        page += &format!(
            "| read and cut into other windows (`-i`), one core | {} a second | 10 million |\n",
            count("/events/recut_a_second")
        );
        for export in results["events"]["exports"]
            .as_array()
            .into_iter()
            .flatten()
        {
            page += &format!(
                "| read and exported as {}, {:.0} bytes an event, one core | {:.0} a second | 10 million |\n",
                export["format"].as_str().unwrap_or_default(),
                export["bytes_an_event"].as_f64().unwrap_or(f64::NAN),
                export["a_second"].as_f64().unwrap_or(f64::NAN),
            );
        }
    }
    page
}
