//! An agent without a screen: measures on and on, and answers over HTTP.
//!
//! In: a measurement, a listening socket, what to keep. Out: `/metrics`, `/snapshot`, `/findings`, `/interference`, `/status`,
//! `/healthz`, until a signal ends it. Must not know: the command line, how the kernel is measured.
//!
//! The measurement has a thread of its own; nobody who asks can hold it up for longer than it takes to write one text.

mod board;
mod connection;
mod exporting;
mod guarding;
mod measuring;
mod negotiate;
mod pages;
mod pushing;
#[cfg(test)]
mod tests;
mod token;
mod unstalled;

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use courtside_core::model::View;
use courtside_kernel::sys::signals::is_ignored;
use rustix::process::Signal;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal as Signals, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

pub use connection::{MOST_CONNECTIONS, tls};
pub use courtside_export::prometheus::Slow;
pub use exporting::Export;
pub use guarding::{Begun, Guards, Standing};
pub use pushing::{Collector, Push};
pub use token::Token;

use crate::{measure::Measurement, recorder::Shared};
use board::Board;
use exporting::Exporting;
use measuring::{Beside, Measuring};

/// How long whoever is being answered may go on when the agent ends.
const GRACE: Duration = Duration::from_secs(2);

/// What an agent does.
pub struct Options {
    /// Length of a window.
    pub interval: Duration,
    /// How windows are seen.
    pub view: View,
    /// How many components have series of their own.
    pub top: usize,
    /// Histograms are native for those who take protobuf.
    pub native_histograms: bool,
    /// How long the series of a component that is gone are kept.
    pub linger: Duration,
    /// End by itself after this time.
    pub duration: Option<Duration>,
    /// What whoever asks must know.
    pub token: Option<Token>,
    /// Certificate and key.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// A recording to be made beside.
    pub recording: Option<Recording>,
    /// Where finished hours are written.
    pub export: Option<Export>,
    /// Where the totals are pushed to.
    pub push: Option<Push>,
    /// Who judges what is measured.
    pub guard: Option<Guarding>,
}

/// A guard beside.
pub struct Guarding {
    /// What judges and acts.
    pub guards: Box<dyn Guards>,
    /// How it was begun, to be told.
    pub begun: Begun,
}

/// A recording that is made beside.
pub struct Recording {
    /// What takes the windows.
    pub recorder: Shared,
    /// Name of its file, to be told.
    pub file: String,
}

/// Measures and answers until a signal, the end of the time, or a failure.
///
/// # Errors
/// It cannot be begun, or measuring failed.
pub fn run(
    listener: TcpListener,
    measurement: Box<dyn Measurement>,
    options: Options,
) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(serve(listener, measurement, options))
}

async fn serve(
    listener: TcpListener,
    measurement: Box<dyn Measurement>,
    options: Options,
) -> anyhow::Result<()> {
    let mut signals = Ending::new().context("cannot receive signals")?;
    listener
        .set_nonblocking(true)
        .context("cannot listen without waiting")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot listen")?;
    let board = Arc::new(Board::new(&options));
    let export = options.export;
    let export = export.map(|export| Exporting::start(export, Arc::clone(&board)));
    let mut measuring = Measuring::start(
        measurement,
        options.view,
        options.interval,
        Beside {
            recording: options.recording,
            exporting: export,
            guards: options.guard.map(|guard| guard.guards),
        },
        Arc::clone(&board),
    )?;
    let (stop, stopped) = watch::channel(false);
    let (push_last, last_pushed) = watch::channel(false);
    let pushing = options.push.map(|push| {
        let board = Arc::clone(&board);
        tokio::spawn(pushing::push(push, board, last_pushed))
    });
    let site = Arc::new(pages::Site {
        board,
        token: options.token,
    });
    let serving = tokio::spawn(connection::serve(listener, options.tls, site, stopped));
    let end = options
        .duration
        .and_then(|time| Instant::now().checked_add(time));
    let failed = tokio::select! {
        failed = measuring.failed() => Some(failed),
        () = signals.next() => None,
        () = until(end) => None,
    };
    // Nobody waits for these any more if they are gone.
    let _ = stop.send(true);
    let measured = tokio::task::spawn_blocking(move || measuring.finish());
    // What was begun is answered; what takes longer is cut off.
    let _ = timeout(GRACE, serving).await;
    let last = measured.await.context("cannot end the last window")?;
    if let Some(pushing) = pushing {
        // The last window is told, too.
        let _ = push_last.send(true);
        let _ = pushing.await;
    }
    failed.or(last).map_or(Ok(()), Err)
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep(end.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

/// The signals that end it: SIGINT, SIGTERM, and SIGHUP unless it is ignored (`nohup`).
struct Ending {
    interrupt: Signals,
    terminate: Signals,
    hang_up: Option<Signals>,
}

impl Ending {
    fn new() -> std::io::Result<Self> {
        // Asked before there is a handler: that would be the end of being ignored.
        let hang_up = !is_ignored(Signal::HUP);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: hang_up.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hang_up {
                Some(signals) => drop(signals.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up => {}
        }
    }
}
