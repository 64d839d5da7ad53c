//! Pushes the totals to a collector, over OpenTelemetry's protocol (http/protobuf).
//!
//! In: the board, where to push to, how often. Out: requests; what became of them, on the board. Must not know: what is in them.
//!
//! Sums are since the agent began, so what a collector did not take is in the next one, too: few wait, and the oldest goes first.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use courtside_export::prometheus::otlp::{Reading, refused};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

use super::{GRACE, board::Board, connection::told, measuring::say, token::Token};

/// Requests that may wait for the collector.
const MOST_WAITING: usize = 8;
/// A request has to be answered within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is not read.
const ANSWER_BYTES: usize = 64 << 10;
/// Where a collector listens for this.
const PORT: u16 = 4318;
const PATH: &str = "/v1/metrics";

/// Where to push to, and how often.
pub struct Push {
    /// Where the collector is.
    pub to: Collector,
    /// Time from one push to the next.
    pub every: Duration,
    /// What the collector wants to be told: `Authorization: Bearer TOKEN`.
    pub token: Option<Token>,
}

/// A collector.
#[derive(Clone)]
pub struct Collector {
    host: String,
    port: u16,
    path: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Collector {
    /// Of a URL as in `http://127.0.0.1:4318`. Without a path it is that of the protocol. For `https` there have to be
    /// certificates of those who are trusted (PEM).
    ///
    /// # Errors
    /// It is no such URL, or the certificates are none.
    pub fn parse(
        url: &str,
        trusted: impl FnOnce() -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<Self> {
        ensure!(
            !url.contains('@'),
            "a URL is seen by others: give what the collector wants to know in a file"
        );
        let uri: Uri = url.parse().map_err(|_| anyhow!("{url} is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(Arc::new(client(&trusted()?)?)),
            _ => bail!("{url} is no URL of a collector; give one as in http://127.0.0.1:{PORT}"),
        };
        let host = uri.host().with_context(|| format!("{url} names no host"))?;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let path = if matches!(path, "" | "/") { PATH } else { path };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(PORT),
            path: path.to_owned(),
            tls,
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }
}

/// How to speak to those whom these certificates vouch for.
fn client(trusted: &[u8]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_slice_iter(trusted);
    let all: Vec<_> = all.filter_map(Result::ok).collect();
    let (taken, _) = roots.add_parsable_certificates(all);
    ensure!(
        taken > 0,
        "there is no certificate in the file of those who are trusted"
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What became of a request that was not taken.
enum Failure {
    /// It may be taken later.
    Later(String),
    /// It will not.
    Never(String),
}

/// Pushes until it is told to stop, and then once more.
pub(super) async fn push(push: Push, board: Arc<Board>, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(push.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut pushing = Pushing {
        push,
        board,
        waiting: VecDeque::new(),
        windows: 0,
        failed: None,
    };
    loop {
        // A push that is cut off here is still the first of those that wait.
        let turn = async {
            ticks.tick().await;
            pushing.once().await;
        };
        tokio::select! {
            () = turn => {}
            () = told(&mut stop) => break,
        }
    }
    pushing.take();
    let left = pushing.waiting.len();
    if timeout(GRACE, pushing.send()).await.is_err() && left > 0 {
        say("the collector did not take the last numbers in time");
    }
}

struct Pushing {
    push: Push,
    board: Arc<Board>,
    waiting: VecDeque<Bytes>,
    /// Windows in what was taken last.
    windows: u64,
    failed: Option<String>,
}

impl Pushing {
    async fn once(&mut self) {
        self.take();
        self.send().await;
    }

    /// Takes what the totals are now, if there is a window more.
    fn take(&mut self) {
        let Some((windows, body)) = self.board.otlp(self.windows) else {
            return;
        };
        self.windows = windows;
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            self.board.pushed(|status| {
                status.lost = status.lost.saturating_add(1);
            });
        }
        self.waiting.push_back(body);
    }

    /// Sends what waits, the oldest first, until something fails that may be tried again.
    async fn send(&mut self) {
        while let Some(body) = self.waiting.front().cloned() {
            let sent = timeout(PATIENCE, send(&self.push, body)).await;
            let sent = sent.unwrap_or_else(|_| {
                let seconds = PATIENCE.as_secs();
                Err(Failure::Later(format!(
                    "no answer within {seconds} seconds"
                )))
            });
            let (is_over, why) = match sent {
                Ok(refused) => (true, refused),
                Err(Failure::Never(why)) => (true, Some(why)),
                Err(Failure::Later(why)) => (false, Some(why)),
            };
            let is_lost = is_over && why.is_some();
            self.board.pushed(|status| {
                let counter = match (&why, is_lost) {
                    (None, _) => &mut status.sent,
                    (Some(_), true) => &mut status.lost,
                    (Some(_), false) => &mut status.failures,
                };
                *counter = counter.saturating_add(1);
                status.failed.clone_from(&why);
            });
            if let Some(why) = &why
                && self.failed.as_ref() != Some(why)
            {
                say(&format!("cannot push to {}: {why}", self.push.to.url()));
            }
            self.failed = why;
            if !is_over {
                break;
            }
            self.waiting.pop_front();
        }
    }
}

/// Sends one request; returns why some of it was refused, if some was.
async fn send(push: &Push, body: Bytes) -> Result<Option<String>, Failure> {
    let later = |error: std::io::Error| Failure::Later(error.to_string());
    let to = &push.to;
    let stream = TcpStream::connect((to.host.as_str(), to.port));
    let stream = stream.await.map_err(later)?;
    match &to.tls {
        None => exchange(push, stream, body).await,
        Some(config) => {
            let name = ServerName::try_from(to.host.clone());
            let name = name.map_err(|error| Failure::Never(error.to_string()))?;
            let shaken = TlsConnector::from(Arc::clone(config)).connect(name, stream);
            exchange(push, shaken.await.map_err(later)?, body).await
        }
    }
}

async fn exchange<S>(push: &Push, stream: S, body: Bytes) -> Result<Option<String>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let later = |error: hyper::Error| Failure::Later(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(later)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    let uri = push.to.path.parse();
    *request.uri_mut() = uri.map_err(|_| Failure::Never("the path is none".to_owned()))?;
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&push.to.authority());
    headers.insert(
        HOST,
        host.map_err(|_| Failure::Never("the host is none".to_owned()))?,
    );
    let agent = concat!("courtside/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let kind = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, kind);
    if let Some(token) = &push.token {
        let value = [b"Bearer ", token.bytes()].concat();
        let value = HeaderValue::from_bytes(&value);
        let mut value = value.map_err(|_| Failure::Never("the token is none".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let answered = async {
        let response = sender.send_request(request).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await;
        Ok::<_, hyper::Error>((code, body.map(Collected::to_bytes).unwrap_or_default()))
    };
    let mut answered = pin!(answered);
    let answer = tokio::select! {
        answer = &mut answered => answer,
        // The answer may be there when the connection ends.
        _ = connection => answered.await,
    };
    let (code, body) = answer.map_err(later)?;
    judge(code, &body)
}

/// The protocol names those that may be tried again.
fn judge(code: StatusCode, body: &[u8]) -> Result<Option<String>, Failure> {
    match code {
        _ if code.is_success() => Ok(match refused(body) {
            Reading::All => None,
            Reading::Refused { numbers, why } => {
                Some(format!("{numbers} numbers were refused: {why}"))
            }
        }),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Later(format!("it answers {code}"))),
        _ => Err(Failure::Never(format!("it answers {code}"))),
    }
}
