//! The edge's HTTP API: `POST /v1/record`, `POST /v1/records`. Every record gets a result of its own;
//! a call is refused as a whole only when it cannot be read or nothing could be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bailiwick_api::edge::{
    BODY_BYTES, ErrorBody, FieldError, PutRecordsReply, RecordInput, RecordResult, RecordStatus,
};
use bailiwick_client::normalise::{format_record_id, normalise, parse_batch, parse_record};
use bailiwick_client::sealing::{Sealed, SealingError};
use bailiwick_threshold::RecordToSeal;
use bailiwick_types::ShardId;

use super::Edge;
use crate::clock;

/// Seconds after which an overloaded edge is worth another call.
const OVERLOADED_PAUSE: HeaderValue = HeaderValue::from_static("1");
/// Seconds after which a frozen jurisdiction is: a person ends a freeze, not time.
const FROZEN_PAUSE: HeaderValue = HeaderValue::from_static("10");

/// The routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/v1/record", post(put_one))
        .route("/v1/records", post(put_batch))
        .method_not_allowed_fallback(|| async {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            refuse(status, "method", "not_allowed", "this path takes POST")
        })
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "path", "not_found", "no such path") })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(edge)
}

fn refuse(status: StatusCode, field: &str, code: &str, message: &str) -> Response {
    let body = ErrorBody {
        error: FieldError::new(field, code, message),
    };
    (status, Json(body)).into_response()
}

/// Nothing was done; the same call may be sent again after so many seconds.
fn unavailable(code: &str, message: &str, retry_after: HeaderValue) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "body", code, message);
    response.headers_mut().insert(RETRY_AFTER, retry_after);
    response
}

/// The refusal of a body that is too long or broke off; nothing was stored.
fn unreadable(rejection: &BytesRejection) -> Response {
    match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("longer than {BODY_BYTES} bytes");
            refuse(status, "body", "too_long", &text)
        }
        status => refuse(status, "body", "unreadable", &rejection.body_text()),
    }
}

async fn put_one(State(edge): State<Arc<Edge>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unreadable(&rejection),
    };
    match parse_record(&body) {
        Ok(record) => {
            let reply = edge.put(vec![Ok(record)]).await;
            match reply {
                Ok(mut results) if results.len() == 1 => {
                    let result = results.remove(0);
                    (status_of(&result), Json(result)).into_response()
                }
                Ok(_) => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "record",
                    "internal",
                    "one record gave several results",
                ),
                Err(response) => response,
            }
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(ErrorBody { error })).into_response(),
    }
}

async fn put_batch(State(edge): State<Arc<Edge>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unreadable(&rejection),
    };
    // Parsing and normalising a thousand records takes milliseconds: not on an async worker.
    let parsed = tokio::task::spawn_blocking(move || parse_batch(&body)).await;
    match parsed {
        Ok(Ok(records)) => match edge.put(records).await {
            Ok(results) => Json(PutRecordsReply { results }).into_response(),
            Err(response) => response,
        },
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, Json(ErrorBody { error })).into_response(),
        Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "body",
            "stopping",
            "the edge stops",
        ),
    }
}

/// The status of a single record's answer, from one exhaustive match.
fn status_of(result: &RecordResult) -> StatusCode {
    match result.status {
        RecordStatus::Stored => StatusCode::CREATED,
        RecordStatus::Duplicate => StatusCode::OK,
        RecordStatus::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        RecordStatus::Unknown => StatusCode::ACCEPTED,
    }
}

/// Records of one group with their places in the call.
#[derive(Default)]
struct Group {
    places: Vec<usize>,
    records: Vec<RecordToSeal>,
}

impl Edge {
    /// Normalises, seals and stores; one result per record, in order. The error is the response for
    /// a call of which nothing was done.
    async fn put(
        self: &Arc<Self>,
        inputs: Vec<Result<RecordInput, FieldError>>,
    ) -> Result<Vec<RecordResult>, Response> {
        let begun = Instant::now();
        let edge = self.clone();
        let prepared = tokio::task::spawn_blocking(move || edge.prepare(inputs)).await;
        let Ok((mut results, groups)) = prepared else {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(refuse(status, "body", "stopping", "the edge stops"));
        };
        let stored = groups
            .into_iter()
            .map(|(shard, group)| self.store(shard, group));
        let (mut overloaded, mut frozen, mut done) = (false, false, false);
        for (places, outcome) in futures::future::join_all(stored).await {
            match outcome {
                Ok(sealed) => {
                    done = true;
                    for (place, sealed) in places.into_iter().zip(sealed) {
                        results[place].status = match sealed {
                            Sealed::Stored => RecordStatus::Stored,
                            Sealed::Duplicate => RecordStatus::Duplicate,
                            Sealed::Unknown => RecordStatus::Unknown,
                        };
                    }
                }
                Err(error) => {
                    overloaded |= matches!(error, SealingError::Overloaded);
                    frozen |= matches!(error, SealingError::Frozen);
                    let status = status_after(&error);
                    let error = sealing_error(&error);
                    for place in places {
                        results[place].status = status;
                        results[place].error = Some(error.clone());
                    }
                }
            }
        }
        self.metrics.put(begun.elapsed());
        if overloaded {
            self.metrics.overloaded.inc();
        }
        // Nothing stored, and for a passing reason: the whole call may simply be sent again.
        if !done && overloaded {
            let text = "the edge has more under way than the cluster takes; nothing was stored";
            return Err(unavailable("overloaded", text, OVERLOADED_PAUSE));
        }
        if !done && frozen {
            let text = "the records' jurisdiction is frozen; nothing was stored";
            return Err(unavailable("frozen", text, FROZEN_PAUSE));
        }
        for result in &results {
            self.metrics.record(result.status);
        }
        Ok(results)
    }

    /// Validates and normalises every record and sorts them by custody and partition.
    fn prepare(
        &self,
        inputs: Vec<Result<RecordInput, FieldError>>,
    ) -> (Vec<RecordResult>, BTreeMap<ShardId, Group>) {
        let now = clock::now();
        let mut rng = rand::rng();
        let mut groups: BTreeMap<ShardId, Group> = BTreeMap::new();
        let mut results = Vec::with_capacity(inputs.len());
        for (place, input) in inputs.into_iter().enumerate() {
            let normalised = input.and_then(|input| normalise(input, &self.rules, now, &mut rng));
            match normalised {
                Ok(record) => {
                    let custody = record.custody;
                    results.push(RecordResult {
                        id: Some(format_record_id(&record.id)),
                        status: RecordStatus::Unknown,
                        custody: Some(custody),
                        error: None,
                    });
                    // Normalisation gives served jurisdictions only, and those have a key each.
                    let Some(served) = self.custodies.get(&custody) else {
                        continue;
                    };
                    let record = record.pseudonymised(&served.pseudonym_key);
                    let shard = served.sealing.shard_of(&record.subject);
                    let group = groups.entry(shard).or_default();
                    group.places.push(place);
                    group.records.push(record);
                }
                Err(error) => results.push(RecordResult {
                    id: None,
                    status: RecordStatus::Refused,
                    custody: None,
                    error: Some(error),
                }),
            }
        }
        (results, groups)
    }

    async fn store(
        &self,
        shard: ShardId,
        group: Group,
    ) -> (Vec<usize>, Result<Vec<Sealed>, SealingError>) {
        let served = self.custodies.get(&shard.jurisdiction);
        let lanes = served.and_then(|served| served.sealing.of(shard.partition));
        let outcome = match served.zip(lanes) {
            Some((served, lanes)) => {
                let version = served.pseudonym_key.version;
                lanes.put(group.records, version).await
            }
            None => {
                let reason = "the cluster has not described its groups yet".to_owned();
                Err(SealingError::NoSession(reason))
            }
        };
        (group.places, outcome)
    }
}

/// A record that was not taken for a passing reason is to be sent again; nothing is wrong with it.
fn status_after(error: &SealingError) -> RecordStatus {
    match error {
        SealingError::Overloaded
        | SealingError::Frozen
        | SealingError::NoSession(_)
        | SealingError::Stopped => RecordStatus::Unknown,
        SealingError::Refused(_) | SealingError::Record(_) => RecordStatus::Refused,
    }
}

fn sealing_error(error: &SealingError) -> FieldError {
    let code = match error {
        SealingError::Overloaded => "overloaded",
        SealingError::Frozen => "frozen",
        SealingError::NoSession(_) => "no_session",
        SealingError::Refused(_) => "shard_refused",
        SealingError::Record(_) => "not_sealable",
        SealingError::Stopped => "stopping",
    };
    FieldError::new("record", code, &error.to_string())
}
