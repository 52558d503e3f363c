//! The health listener that every service shares: `/livez`, `/readyz`, `/v1/sys/health`, `/metrics`.
//!
//! `/v1/sys/health` answers with the codes that load balancers and operators know from Vault:
//!
//! ```text
//! 200 active          429 standby (`?standbyok` makes it 200)
//! 501 uninitialised   503 not ready
//! ?activecode=N &standbycode=N &uninitcode=N &sealedcode=N set other codes, 200 to 599
//! ```
//! Not here: who may connect. The listener is plain HTTP for loopback or a management network; it
//! tells the state of the service and nothing of what it holds.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bailiwick_types::{ClusterId, Name};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// The kind of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// A vault node.
    Vault,
    /// An approver.
    Approver,
    /// An edge.
    Edge,
}

impl ServiceKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Approver => "approver",
            Self::Edge => "edge",
        }
    }
}

/// Where a service stands at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It does its work; of a vault node: it leads at least one group.
    Active,
    /// A vault node that follows only.
    Standby,
    /// A vault node of a cluster that was never initialised.
    Uninitialised,
    /// Something that it needs is missing.
    NotReady,
}

/// What a service says of its health. All calls may read a disk: they run off the async workers.
pub trait Health: Send + Sync + 'static {
    /// What it is.
    fn kind(&self) -> ServiceKind;

    /// Its id, as in its certificate name.
    fn name(&self) -> &Name;

    /// Where it listens for others, as its configuration says; an approver does not.
    fn listen(&self) -> Option<&str> {
        None
    }

    /// Nothing when the service can do its work, else what is missing, one line each.
    fn missing(&self) -> Vec<String>;

    /// The cluster that it belongs to, as far as it knows.
    fn cluster(&self) -> Option<ClusterId> {
        None
    }

    /// Where it stands, given what is missing.
    fn standing(&self, missing: &[String]) -> Standing {
        match missing {
            [] => Standing::Active,
            _ => Standing::NotReady,
        }
    }

    /// Brings gauges up to date before a scrape.
    fn before_scrape(&self) {}
}

/// The body of `/v1/sys/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The kind of the service.
    pub service: ServiceKind,
    /// Its id.
    pub name: Name,
    /// Where it listens for others, if it does.
    pub listen: Option<String>,
    /// Where it stands.
    pub standing: Standing,
    /// Whether its cluster was initialised, as far as it knows.
    pub initialized: bool,
    /// Whether it follows only.
    pub standby: bool,
    /// What is missing, one line each.
    pub missing: Vec<String>,
    /// Its version.
    pub version: String,
    /// Its clock, in seconds since 1970.
    pub server_time_utc: u64,
    /// The cluster, as far as it knows.
    pub cluster_id: Option<String>,
}

impl HealthReport {
    fn of(service: &dyn Health) -> Self {
        let missing = service.missing();
        let standing = service.standing(&missing);
        Self {
            service: service.kind(),
            name: service.name().clone(),
            listen: service.listen().map(str::to_owned),
            standing,
            initialized: standing != Standing::Uninitialised,
            standby: standing == Standing::Standby,
            missing,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_time_utc: clock::now().seconds(),
            cluster_id: service.cluster().map(|cluster| cluster.to_string()),
        }
    }
}

/// Which codes `/v1/sys/health` answers with: Vault's names, and its defaults when absent.
#[derive(Clone, Debug, Default, Deserialize)]
struct Codes {
    standbyok: Option<String>,
    activecode: Option<u16>,
    standbycode: Option<u16>,
    uninitcode: Option<u16>,
    sealedcode: Option<u16>,
}

impl Codes {
    /// The code of a standing; `None` when the caller asks for one that is no final answer.
    fn of(&self, standing: Standing) -> Option<StatusCode> {
        let (asked, usual) = match standing {
            Standing::Active => (self.activecode, 200),
            // As in Vault, the parameter's presence counts, not its value.
            Standing::Standby if self.standbyok.is_some() => (self.activecode, 200),
            Standing::Standby => (self.standbycode, 429),
            Standing::Uninitialised => (self.uninitcode, 501),
            Standing::NotReady => (self.sealedcode, 503),
        };
        let code = asked.unwrap_or(usual);
        let final_answer = (200..=599).contains(&code);
        StatusCode::from_u16(code).ok().filter(|_| final_answer)
    }
}

struct Listener {
    service: Arc<dyn Health>,
    registry: Registry,
}

/// Serves health and metrics until `stop`; returns the bound address.
///
/// # Errors
/// The socket's error when the address cannot be bound.
pub async fn serve(
    address: &str,
    service: Arc<dyn Health>,
    registry: Registry,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    let state = Arc::new(Listener { service, registry });
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/v1/sys/health", get(sys_health))
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

/// Asks the service on a thread that may block.
async fn ask<T: Send + 'static>(
    listener: Arc<Listener>,
    question: impl FnOnce(&Listener) -> T + Send + 'static,
) -> Result<T, Response> {
    let answer = tokio::task::spawn_blocking(move || question(&listener)).await;
    answer.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response())
}

async fn readyz(State(listener): State<Arc<Listener>>) -> Response {
    match ask(listener, |listener| listener.service.missing()).await {
        Ok(missing) if missing.is_empty() => "ok\n".into_response(),
        Ok(missing) => {
            let body = missing.join("\n") + "\n";
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
        Err(stopping) => stopping,
    }
}

async fn sys_health(State(listener): State<Arc<Listener>>, Query(codes): Query<Codes>) -> Response {
    let asked = ask(listener, |listener| HealthReport::of(&*listener.service)).await;
    let report = match asked {
        Ok(report) => report,
        Err(stopping) => return stopping,
    };
    match codes.of(report.standing) {
        Some(code) => (code, [(CACHE_CONTROL, "no-store")], Json(report)).into_response(),
        None => {
            let text = "a status code must be 200 to 599\n";
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}

async fn metrics(State(listener): State<Arc<Listener>>) -> Response {
    let encoded = ask(listener, |listener| {
        listener.service.before_scrape();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &listener.registry).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) => {
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, form)], text).into_response()
        }
        Ok(Err(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "not encodable\n").into_response(),
        Err(stopping) => stopping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(codes: &Codes, standing: Standing) -> Option<u16> {
        codes.of(standing).map(|code| code.as_u16())
    }

    #[test]
    fn the_codes_are_those_that_people_know() {
        let codes = Codes::default();
        assert_eq!(code(&codes, Standing::Active), Some(200));
        assert_eq!(code(&codes, Standing::Standby), Some(429));
        assert_eq!(code(&codes, Standing::Uninitialised), Some(501));
        assert_eq!(code(&codes, Standing::NotReady), Some(503));
    }

    #[test]
    fn a_caller_may_ask_for_other_codes() {
        let codes = Codes {
            standbyok: Some(String::new()),
            activecode: Some(204),
            sealedcode: Some(599),
            uninitcode: Some(100),
            ..Codes::default()
        };
        assert_eq!(code(&codes, Standing::Standby), Some(204));
        assert_eq!(code(&codes, Standing::NotReady), Some(599));
        assert_eq!(
            code(&codes, Standing::Uninitialised),
            None,
            "no final answer"
        );
    }
}
