//! Connections, within limits: how many, how long, how large a request, how slow a reader.
//!
//! In: a listening socket. Out: answers. Must not know: what is answered.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use hyper::{Request, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{GRACE, pages::Site, unstalled::Unstalled};

/// Connections that may be open at once; further ones are refused.
pub const MOST_CONNECTIONS: usize = 64;
/// The head of a request has to be there within this time, and a TLS handshake.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A write has to make progress within this time.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Nobody keeps a connection for longer.
const LIFETIME: Duration = Duration::from_secs(300);
/// A longer head of a request is refused.
const HEAD_BYTES: usize = 16 << 10;
/// More headers are refused.
const MOST_HEADERS: usize = 64;
/// Where no connection can be accepted (no descriptors are left), it is tried again after this time.
const PAUSE: Duration = Duration::from_millis(100);
/// What is said to those who are refused.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Certificate and key, from the text of PEM files.
///
/// # Errors
/// They are none, or do not belong together.
pub fn tls(certificates: &[u8], key: &[u8]) -> anyhow::Result<Arc<ServerConfig>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let certificates = certificates.context("the certificate is no PEM")?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "there is no certificate in the file"
    );
    let key =
        PrivateKeyDer::from_pem_slice(key).context("there is no private key in PEM in the file")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("certificate and key do not belong together, or cannot be used")?;
    Ok(Arc::new(config))
}

/// Answers until it is told to stop; what was begun then is answered.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    site: Arc<Site>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = told(&mut stop) => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(place) => {
                        let (tls, site) = (tls.clone(), Arc::clone(&site));
                        open.spawn(connection(stream, tls, site, stop.clone(), place));
                    }
                    Err(_) => {
                        site.board.refused();
                        // Whoever does not read that learns it from the end of the connection.
                        let _ = stream.try_write(BUSY);
                    }
                },
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
    drop(listener);
    let rest = async { while open.join_next().await.is_some() {} };
    // Those that are left then end with the set.
    let _ = timeout(GRACE, rest).await;
}

/// Waits until it is told to stop.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is the end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    site: Arc<Site>,
    stop: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    let is_open = site.board.opened();
    let stream = Unstalled::new(stream, WRITE_TIME);
    match tls {
        None => exchange(stream, site, stop).await,
        Some(config) => {
            let shaken = timeout(HEAD_TIME, TlsAcceptor::from(config).accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                exchange(stream, site, stop).await;
            }
        }
    }
    drop((is_open, place));
}

/// Requests and answers, one after the other. What goes wrong here is the other end's to know.
async fn exchange<S>(stream: S, site: Arc<Site>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = site.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told(&mut stop) => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}
