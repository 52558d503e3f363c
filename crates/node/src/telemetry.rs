//! Logging and the health listener that every service shares: `/livez`, `/readyz`, `/metrics`.
//!
//! No identifier, hashed or not, enters a log line, a span or a metric: labels are typed sets.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSection};

/// Starts logging to standard error for the whole process; a second call does nothing.
///
/// # Errors
/// The filter's error when it does not parse.
pub fn start_logging(section: &LogSection) -> Result<(), tracing_subscriber::filter::ParseError> {
    // The Raft library tells of every restart and reconnection at length; what matters of that is
    // told by our own lines. Whoever names it in the filter gets what they ask for.
    let quiet = if section.filter.contains("openraft") {
        ""
    } else {
        ",openraft=error"
    };
    let filter = EnvFilter::try_new(format!("{}{quiet}", section.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match section.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}

/// What a service says of its readiness.
pub trait Readiness: Send + Sync + 'static {
    /// Nothing when the service can do its work, else what is missing, one line each.
    fn missing(&self) -> Vec<String>;

    /// Brings gauges up to date before a scrape.
    fn before_scrape(&self) {}
}

/// The health listener's state.
struct Health {
    readiness: Arc<dyn Readiness>,
    registry: Registry,
}

/// Serves health and metrics until `stop`; returns the bound address.
///
/// # Errors
/// The socket's error when the address cannot be bound.
pub async fn serve_health(
    address: &str,
    readiness: Arc<dyn Readiness>,
    registry: Registry,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let state = Arc::new(Health {
        readiness,
        registry,
    });
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state);
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the health listener ended");
        }
    });
    Ok(local)
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let missing = health.readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    health.readiness.before_scrape();
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.registry) {
        Ok(()) => {
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(CONTENT_TYPE, form)], text)
        }
        Err(_) => {
            let form = "text/plain; charset=utf-8";
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(CONTENT_TYPE, form)],
                "not encodable\n".into(),
            )
        }
    }
}
