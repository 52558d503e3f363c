//! Handing records to an edge: `POST /v1/records` over HTTPS with a certificate on both sides.
//!
//! One connection, kept alive and opened anew when it has died; HTTP/1.1, one call at a time on it.
//! Clones share nothing but the address: a caller that wants calls side by side clones. The edge's
//! certificate must name an edge of the own trust domain; its host name is nobody's business.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::edge::{ErrorBody, FieldError, PutRecords, PutRecordsReply, RecordInput};
use bailiwick_transport::{ExpectedPeer, TlsIdentity};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest answer: 1,000 results of under 512 bytes.
const REPLY_BYTES: usize = 512 * 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// Why an edge has not answered for the records.
#[derive(Debug, thiserror::Error)]
pub enum EdgeFailure {
    /// The edge refuses the whole call; nothing of it was stored. The caller's fault below 500.
    #[error("the edge refuses with {status}: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Which field is at fault.
        error: FieldError,
    },
    /// Nothing was sent.
    #[error("cannot reach the edge at {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The call was sent and not answered: send the same records with the same ids again.
    #[error("the edge has not answered, the outcome is unknown: {0}")]
    Unknown(String),
    /// The answer is not of the API's form: the edge's fault, and the outcome is unknown.
    #[error("the edge's answer with status {0} is not of its form")]
    Malformed(u16),
}

impl EdgeFailure {
    /// Whether some of the records may be stored.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Malformed(_))
    }

    /// Whether the same call may succeed later without being changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 429 | 503),
            Self::Unreachable { .. } | Self::Unknown(_) => true,
            Self::Malformed(_) => false,
        }
    }
}

/// A client of one edge.
pub struct EdgeClient {
    address: String,
    tls: Arc<TlsIdentity>,
    deadline: Duration,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Clone for EdgeClient {
    fn clone(&self) -> Self {
        Self::new(self.address.clone(), self.tls.clone(), self.deadline)
    }
}

impl EdgeClient {
    /// A client of the edge at `host:port`; nothing is dialled yet. `deadline` is for each call.
    pub fn new(address: String, tls: Arc<TlsIdentity>, deadline: Duration) -> Self {
        Self {
            address,
            tls,
            deadline,
            sender: Mutex::new(None),
        }
    }

    /// Hands in 1 to 1,000 records; one result each, in order. Records with ids of their own may be
    /// sent again after any failure.
    ///
    /// # Errors
    /// [`EdgeFailure`] says whether anything may be stored.
    pub async fn put(&self, records: &PutRecords) -> Result<PutRecordsReply, EdgeFailure> {
        let reply: PutRecordsReply = self.post("/v1/records", records).await?;
        if reply.results.len() != records.records.len() {
            return Err(EdgeFailure::Malformed(200));
        }
        Ok(reply)
    }

    /// Hands in one record.
    ///
    /// # Errors
    /// As [`EdgeClient::put`].
    pub async fn put_one(
        &self,
        record: &RecordInput,
    ) -> Result<bailiwick_api::edge::RecordResult, EdgeFailure> {
        self.post("/v1/record", record).await
    }

    async fn post<Body: serde::Serialize, Reply: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &Body,
    ) -> Result<Reply, EdgeFailure> {
        let body = serde_json::to_vec(body).map_err(|_| EdgeFailure::Malformed(0))?;
        let call = self.exchange(path, body.into());
        let answered = timeout(self.deadline, call).await;
        let (status, body) = answered
            .unwrap_or_else(|_| Err(EdgeFailure::Unknown("no answer in time".to_owned())))?;
        let malformed = || EdgeFailure::Malformed(status.as_u16());
        // A single record's refusal is a result with a status of its own.
        if status.is_success() || status == StatusCode::UNPROCESSABLE_ENTITY {
            return serde_json::from_slice(&body).map_err(|_| malformed());
        }
        let ErrorBody { error } = serde_json::from_slice(&body).map_err(|_| malformed())?;
        Err(EdgeFailure::Refused {
            status: status.as_u16(),
            error,
        })
    }

    async fn exchange(&self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), EdgeFailure> {
        // Held until the answer is read: HTTP/1.1 has one call at a time on a connection. A call
        // that is given up leaves nothing behind, so that the next one never reads its answer.
        let mut kept = self.sender.lock().await;
        let mut sender = self.ready(kept.take()).await?;
        let request = Request::post(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.unreachable(&error))?;
        let unknown = |error: &dyn std::fmt::Display| EdgeFailure::Unknown(error.to_string());
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| match error {
                error if error.is_canceled() => self.unreachable(&error),
                error => unknown(&error),
            })?;
        let answer = read(response).await?;
        *kept = Some(sender);
        Ok(answer)
    }

    /// The kept connection if it still lives, else a new one.
    async fn ready(
        &self,
        kept: Option<SendRequest<Full<Bytes>>>,
    ) -> Result<SendRequest<Full<Bytes>>, EdgeFailure> {
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let connected = timeout(CONNECT, self.connect()).await;
        connected.unwrap_or_else(|_| Err(self.unreachable(&"no connection in time")))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, EdgeFailure> {
        let failed = |error: std::io::Error| self.unreachable(&error);
        let stream = TcpStream::connect(&self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut config = (*self.tls.client_config_http_for(&ExpectedPeer::edge())).clone();
        // One call at a time: HTTP/2 would buy nothing but its flow control.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| self.unreachable(&error))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        let (sender, connection) = handshake(TokioIo::new(stream.map_err(failed)?))
            .await
            .map_err(|error| self.unreachable(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the edge ended");
            }
        });
        Ok(sender)
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display) -> EdgeFailure {
        EdgeFailure::Unreachable {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<(StatusCode, Bytes), EdgeFailure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), REPLY_BYTES)
        .collect()
        .await;
    let body = body.map_err(|error| EdgeFailure::Unknown(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bailiwick_transport::TlsFiles;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    fn tls(role: &str) -> Arc<TlsIdentity> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/fixtures");
        let files = TlsFiles {
            certificate: folder.join(format!("{role}.pem")),
            key: folder.join(format!("{role}.key.pem")),
            authorities: folder.join("authorities.pem"),
            families: Vec::new(),
            revocations: None,
        };
        let domain = "bailiwick.example".parse().expect("a name");
        TlsIdentity::load(files, domain).expect("the fixtures load")
    }

    /// Serves the answers in turn, `None` being silence, and counts connections. No HTTP library:
    /// the client's view of a server is what is tested.
    async fn serve(role: &str, answers: Vec<Option<String>>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound").to_string();
        let acceptor = TlsAcceptor::from(tls(role).server_config_http());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                    request.extend_from_slice(&chunk[..read]);
                    if !is_whole(&request) {
                        continue;
                    }
                    request.clear();
                    if let Some(Some(answer)) = answers.next() {
                        stream.write_all(answer.as_bytes()).await.expect("answers");
                    }
                }
            }
        });
        (address, connections)
    }

    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        length.is_some_and(|length| body.len() >= length)
    }

    fn http(status: &str, body: &str) -> Option<String> {
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn stored() -> Option<String> {
        http("200 OK", r#"{"results":[{"status":"stored"}]}"#)
    }

    fn records() -> PutRecords {
        let record = RecordInput {
            id: None,
            account: "alice".to_owned(),
            residence: None,
            phone: None,
            ip: None,
        };
        PutRecords {
            records: vec![record],
        }
    }

    async fn client(answers: Vec<Option<String>>) -> (EdgeClient, Arc<AtomicUsize>) {
        let (address, connections) = serve("edge", answers).await;
        let deadline = Duration::from_millis(1500);
        (
            EdgeClient::new(address, tls("recipient"), deadline),
            connections,
        )
    }

    #[tokio::test]
    async fn calls_in_turn_share_one_connection() {
        let (client, connections) = client(vec![stored(), stored(), stored()]).await;
        for _ in 0..3 {
            client.put(&records()).await.expect("stored");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_refusal_names_its_field_and_an_overload_is_transient() {
        let body = r#"{"error":{"field":"body","code":"overloaded","message":"later"}}"#;
        let answers = vec![
            http("503 Service Unavailable", body),
            http("400 Bad Request", body),
        ];
        let (client, _) = client(answers).await;
        let overloaded = client.put(&records()).await.expect_err("503");
        assert!(overloaded.is_transient() && !overloaded.outcome_unknown());
        let refused = client.put(&records()).await.expect_err("400");
        assert!(!refused.is_transient() && !refused.outcome_unknown());
        assert!(
            matches!(refused, EdgeFailure::Refused { status: 400, error } if error.code == "overloaded")
        );
    }

    #[tokio::test]
    async fn an_answer_of_another_form_is_malformed() {
        let none = http("200 OK", r#"{"results":[]}"#);
        let (client, _) = client(vec![http("200 OK", "<html>"), none]).await;
        for what in ["no JSON", "a result short"] {
            let failure = client.put(&records()).await.expect_err(what);
            assert!(matches!(failure, EdgeFailure::Malformed(200)), "{what}");
        }
    }

    #[tokio::test]
    async fn silence_is_an_unknown_outcome_and_leaves_no_answer_behind() {
        let (client, connections) = client(vec![None, stored()]).await;
        let silent = client.put(&records()).await.expect_err("no answer");
        assert!(silent.outcome_unknown() && silent.is_transient());
        client.put(&records()).await.expect("a new connection");
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_not_read_to_its_end() {
        let long = "x".repeat(REPLY_BYTES + 1);
        let (client, _) = client(vec![http("200 OK", &long)]).await;
        let failure = client.put(&records()).await.expect_err("too long");
        assert!(failure.outcome_unknown());
    }

    /// A vault's certificate at the edge's address: nothing is handed in.
    #[tokio::test]
    async fn only_an_edge_is_handed_records() {
        let (address, connections) = serve("vault", vec![stored()]).await;
        let client = EdgeClient::new(address, tls("recipient"), Duration::from_secs(5));
        let failure = client.put(&records()).await.expect_err("no edge");
        assert!(matches!(failure, EdgeFailure::Unreachable { .. }));
        assert_eq!(connections.load(Ordering::SeqCst), 0);
    }
}
