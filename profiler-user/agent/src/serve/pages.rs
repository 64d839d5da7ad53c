//! What is answered to a request.
//!
//! In: a request's method, path and headers. Out: status, headers, body. Must not know: connections.

use std::sync::Arc;

use bytes::Bytes;
use courtside_export::json;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue,
        RETRY_AFTER, WWW_AUTHENTICATE,
    },
};

use super::{
    board::{Board, Page},
    negotiate,
    token::Token,
};

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const JSON_LINES: &str = "application/jsonl; charset=utf-8";
const CONTENTS: &str = "\
courtside serve
/metrics   counters since this agent began, for Prometheus
/snapshot  the last window as JSON (courtside schema snapshot)
/findings  what is wrong in the last window, as JSON (courtside schema findings)
/interference
           who slows whom, as lines of JSON, the newest last (courtside schema interference; with --guard)
/status    how the agent is, as JSON (courtside schema status)
/healthz   200 while windows come in time, else 503 and why
";

/// What is behind the pages.
pub(super) struct Site {
    pub(super) board: Arc<Board>,
    pub(super) token: Option<Token>,
}

struct Answer {
    code: StatusCode,
    kind: &'static str,
    body: Bytes,
}

impl Answer {
    fn new(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            code,
            kind,
            body: body.into(),
        }
    }

    fn none_yet() -> Self {
        let why = "no window has been measured yet\n";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why)
    }
}

impl Site {
    /// The answer to a request, whose body nobody reads.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = known(request.uri().path());
        let answer = self.look(request, path);
        self.board.answered(path, answer.code.as_u16());
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if answer.code == StatusCode::UNAUTHORIZED {
            // There are few places for connections, and they are for those who know the token.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let (name, value) = match answer.code {
            StatusCode::UNAUTHORIZED => (WWW_AUTHENTICATE, "Bearer realm=\"courtside\""),
            StatusCode::METHOD_NOT_ALLOWED => (ALLOW, "GET, HEAD"),
            StatusCode::SERVICE_UNAVAILABLE => (RETRY_AFTER, "1"),
            _ => return response,
        };
        headers.insert(name, HeaderValue::from_static(value));
        response
    }

    fn look<B>(&self, request: &Request<B>, path: &'static str) -> Answer {
        let headers = request.headers();
        // Who only asks whether this lives learns nothing else.
        if path != "/healthz"
            && let Some(token) = &self.token
            && !token.is_in(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes))
        {
            let why = "this agent wants a token: Authorization: Bearer TOKEN\n";
            return Answer::new(StatusCode::UNAUTHORIZED, PLAIN, why);
        }
        if path == "unknown" {
            return Answer::new(StatusCode::NOT_FOUND, PLAIN, CONTENTS);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let why = "there is nothing to change here: only GET and HEAD\n";
            return Answer::new(StatusCode::METHOD_NOT_ALLOWED, PLAIN, why);
        }
        let page = |page: Page, kind: &'static str| match self.board.page(page) {
            Some(body) => Answer::new(StatusCode::OK, kind, body),
            None => Answer::none_yet(),
        };
        match path {
            "/metrics" => {
                let accepts = headers.get_all(ACCEPT).iter();
                let accepts: Vec<&str> = accepts.filter_map(|value| value.to_str().ok()).collect();
                let native = self.board.has_native_histograms();
                let (format, kind) = negotiate::format(Some(&accepts.join(",")), native);
                page(Page::Metrics(format), kind)
            }
            "/snapshot" => page(Page::Snapshot, JSON),
            "/findings" => page(Page::Findings, JSON),
            "/interference" if !self.board.has_guard() => {
                let why = "there is no guard here: begin the agent with --guard\n";
                Answer::new(StatusCode::NOT_FOUND, PLAIN, why)
            }
            "/interference" => page(Page::Interference, JSON_LINES),
            "/status" => match json::to_string(&self.board.status()) {
                Ok(text) => Answer::new(StatusCode::OK, JSON, text),
                Err(error) => Answer::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    PLAIN,
                    format!("{error}\n"),
                ),
            },
            "/healthz" => match self.board.unwell() {
                None => Answer::new(StatusCode::OK, PLAIN, "ok\n"),
                Some(why) => {
                    Answer::new(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n"))
                }
            },
            _ => Answer::new(StatusCode::OK, PLAIN, CONTENTS),
        }
    }
}

/// The path, if there is such a page: whoever asks does not choose what is a label.
fn known(path: &str) -> &'static str {
    const PATHS: [&str; 7] = [
        "/",
        "/metrics",
        "/snapshot",
        "/findings",
        "/interference",
        "/status",
        "/healthz",
    ];
    let known = PATHS.into_iter().find(|known| *known == path);
    known.unwrap_or("unknown")
}
