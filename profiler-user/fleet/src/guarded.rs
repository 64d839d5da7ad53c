//! Windows of hosts as `guard` takes them.
//!
//! In: the tables of windows, components, processes and of whom the CPU was given to. Out: [`Inputs`], host by host, in order.
//! Must not know: what is learned from them or judged.
//!
//! The tables of a host are read side by side, each in the order of hours and windows, so no more than a window is held.

use std::collections::{BTreeMap, VecDeque};

use courtside_analysis::guard::{Inputs, Used, is_sound, platform};

use crate::{
    args::TimeArgs,
    engine::{Asked, Engine},
    rows::Rows,
    views,
};

/// The tables that are read.
const TABLES: [&str; 4] = ["windows", "components", "processes", "run_queue_by"];

/// Hour, and window within it.
type Key = (String, u64);

/// One table of one host.
struct Cursor<T> {
    asked: Asked,
    decode: fn(&Rows<'_>) -> anyhow::Result<Vec<T>>,
    ready: VecDeque<(Key, T)>,
}

impl<T> Cursor<T> {
    async fn open(
        engine: &mut Engine,
        sql: &str,
        decode: fn(&Rows<'_>) -> anyhow::Result<Vec<T>>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            asked: engine.ask_in_silence(sql).await?,
            decode,
            ready: VecDeque::new(),
        })
    }

    async fn fill(&mut self) -> anyhow::Result<bool> {
        while self.ready.is_empty() {
            let Some(batch) = self.asked.next().await? else {
                return Ok(false);
            };
            let rows = Rows::of(&batch);
            let keys = rows.texts("hour")?.into_iter().zip(rows.sums("window")?);
            self.ready.extend(keys.zip((self.decode)(&rows)?));
        }
        Ok(true)
    }

    async fn next(&mut self) -> anyhow::Result<Option<(Key, T)>> {
        self.fill().await?;
        Ok(self.ready.pop_front())
    }

    /// All of a window. What belongs to a window that is not there is left out: its file could not be read.
    async fn of(&mut self, key: &Key) -> anyhow::Result<Vec<T>> {
        let mut found = Vec::new();
        while self.fill().await? && self.ready.front().is_some_and(|(at, _)| at <= key) {
            let next = self.ready.pop_front();
            found.extend(next.filter(|(at, _)| at == key).map(|(_, row)| row));
        }
        Ok(found)
    }
}

/// The windows of one host, one after the other.
pub(crate) struct Windows {
    windows: Cursor<Inputs>,
    components: Cursor<(String, Used)>,
    processes: Cursor<(String, u64)>,
    waited: Cursor<(String, String, u64)>,
}

impl Windows {
    /// Begins with the first window of a host.
    ///
    /// # Errors
    /// A table is not there, or cannot be read.
    pub(crate) async fn of(
        engine: &mut Engine,
        host: &str,
        time: &TimeArgs,
    ) -> anyhow::Result<Self> {
        engine.know(&TABLES).await?;
        let time = views::hours(time.from.as_deref(), time.to.as_deref());
        let which = format!("WHERE host = {} AND {time}", views::text(host));
        let order = r#"ORDER BY hour, "window""#;
        let columns = engine.columns("windows").await?;
        let lost = columns.iter().filter(|name| name.starts_with("lost_"));
        let lost: Vec<String> = lost
            .map(|name| format!(r#"coalesce("{name}", 0)"#))
            .collect();
        let lost = match lost.as_slice() {
            [] => "0".to_owned(),
            some => some.join(" + "),
        };
        let windows = format!(
            r#"SELECT hour, "window", start_unix_ns, duration_ns, arch, cpus, steal_ns, {lost} AS lost FROM windows {which} {order}"#
        );
        let components = format!(
            r#"SELECT hour, "window", id, on_cpu_ns, run_queue_ns, throttled_ns, block_io_ns, disk_latency_sum_ns, disk_read_bytes,
                disk_write_bytes, requests_served, service_count, service_sum_ns, cycles, instructions, llc_misses,
                counters_running_ratio FROM components {which} AND kind <> 'remote' {order}"#
        );
        let processes = format!(
            r#"SELECT hour, "window", component, count(*) AS tasks FROM processes {which} GROUP BY hour, "window", component {order}"#
        );
        let waited = format!(
            r#"SELECT hour, "window", component, "by", ns FROM run_queue_by {which} {order}"#
        );
        Ok(Self {
            windows: Cursor::open(engine, &windows, window).await?,
            components: Cursor::open(engine, &components, used).await?,
            processes: Cursor::open(engine, &processes, |rows| {
                let names = rows.texts("component")?.into_iter();
                Ok(names.zip(rows.sums("tasks")?).collect())
            })
            .await?,
            waited: Cursor::open(engine, &waited, |rows| {
                let who = rows.texts("component")?.into_iter();
                let by = rows.texts("by")?.into_iter();
                let both = who.zip(by).zip(rows.sums("ns")?);
                Ok(both.map(|((who, by), ns)| (who, by, ns)).collect())
            })
            .await?,
        })
    }

    /// The next window.
    ///
    /// # Errors
    /// A table cannot be read.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Inputs>> {
        let Some((key, mut inputs)) = self.windows.next().await? else {
            return Ok(None);
        };
        let components = self.components.of(&key).await?;
        inputs.components = components.into_iter().collect();
        for (id, tasks) in self.processes.of(&key).await? {
            if let Some(used) = inputs.components.get_mut(&id) {
                used.tasks = tasks;
            }
        }
        let mut waited: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        for (id, by, ns) in self.waited.of(&key).await? {
            waited.entry(id).or_default().push((by, ns));
        }
        for (id, used) in &mut inputs.components {
            // The table does not tell a wait for nobody from a wait that was not looked at. Who waited has rows.
            used.run_queue_by = match waited.remove(id) {
                None if used.run_queue_ns > 0 => None,
                by => Some(by.unwrap_or_default()),
            };
        }
        Ok(Some(inputs))
    }
}

fn window(rows: &Rows<'_>) -> anyhow::Result<Vec<Inputs>> {
    let (mut start, mut duration) = (
        rows.sums("start_unix_ns")?.into_iter(),
        rows.sums("duration_ns")?.into_iter(),
    );
    let (mut arch, mut cpus) = (
        rows.texts("arch")?.into_iter(),
        rows.sums("cpus")?.into_iter(),
    );
    let (mut steal, mut lost) = (
        rows.counts("steal_ns")?.into_iter(),
        rows.sums("lost")?.into_iter(),
    );
    let mut next = || {
        Some(Inputs {
            start_unix_ns: start.next()?,
            duration_ns: duration.next()?,
            platform: platform(&arch.next()?, cpus.next()?),
            steal_ns: steal.next()?,
            lost: lost.next()?,
            components: BTreeMap::new(),
        })
    };
    Ok(std::iter::from_fn(&mut next).collect())
}

fn used(rows: &Rows<'_>) -> anyhow::Result<Vec<(String, Used)>> {
    let ids = rows.texts("id")?;
    let on_cpu = rows.sums("on_cpu_ns")?;
    let run_queue = rows.sums("run_queue_ns")?;
    let throttled = rows.counts("throttled_ns")?;
    let block_io = rows.sums("block_io_ns")?;
    let disk = rows.sums("disk_latency_sum_ns")?;
    let read = rows.sums("disk_read_bytes")?;
    let written = rows.sums("disk_write_bytes")?;
    let served = rows.sums("requests_served")?;
    let timed = rows.sums("service_count")?;
    let service = rows.sums("service_sum_ns")?;
    let cycles = rows.counts("cycles")?;
    let instructions = rows.counts("instructions")?;
    let misses = rows.counts("llc_misses")?;
    let running = rows.reals("counters_running_ratio")?;
    let of = |column: &[u64], row: usize| column.get(row).copied().unwrap_or(0);
    let or_null = |column: &[Option<u64>], row: usize| column.get(row).copied().flatten();
    let row = |(row, id): (usize, String)| {
        let counters = or_null(&cycles, row).zip(or_null(&instructions, row));
        let running = running.get(row).copied().flatten();
        let counters =
            counters.filter(|(cycles, instructions)| is_sound(*cycles, *instructions, running));
        let used = Used {
            tasks: 0,
            cpu_ns: of(&on_cpu, row),
            run_queue_ns: of(&run_queue, row),
            throttled_ns: or_null(&throttled, row),
            block_io_ns: of(&block_io, row),
            disk_ns: of(&disk, row),
            disk_bytes: of(&read, row).saturating_add(of(&written, row)),
            requests: of(&served, row),
            timed: (of(&timed, row), of(&service, row)),
            counters,
            llc_misses: or_null(&misses, row).filter(|_| counters.is_some()),
            run_queue_by: None,
            // No export tells it.
            queued_behind: None,
        };
        (id, used)
    };
    Ok(ids.into_iter().enumerate().map(row).collect())
}
