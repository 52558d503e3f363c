//! The server's end of one authenticated connection: authorisation, deadlines, streams, age.
//!
//! One task reads; each call and stream runs in a task of its own that ends with the connection.
//! Reading pauses while the calls' limits are reached; streams have their own limit and are refused
//! above it, because a paused reader could not bring them the credit that they need to end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_types::Identity;
use bailiwick_types::limits::MESSAGE_BYTES;
use bytes::Bytes;
use futures::FutureExt;
use rustls::pki_types::UnixTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::authorisation::allowed;
use crate::counters::RefusalReason;
use crate::duplex::{AddStream, Link, StreamFrameError};
use crate::frame::{ErrorClass, Frame, FrameError, Kind, error_frame, refusal_frame};
use crate::limits::{
    CALL_BYTES_PER_CONNECTION, DEADLINE_CEILING, FRAME_BYTES, STREAMS_PER_CONNECTION,
};
use crate::operation::{Operation, ServedBy};
use crate::server::{Context, Place, Reader, Writer};
use crate::stream::StreamState;
use crate::tls;
use crate::wire::{ReadError, WriterEnd, WriterTiming, spawn_writer};

/// Runs a connection to its end; the reason, if it was the server that ended it.
pub(crate) async fn run(
    context: Arc<Context>,
    place: Place,
    writer: Writer,
    mut reader: Reader,
) -> Option<RefusalReason> {
    let stop = context.stop.child_token();
    let timing = WriterTiming {
        keepalive: context
            .options
            .keepalive
            .min(context.options.idle_timeout / 3),
        stall: context.options.idle_timeout,
    };
    let (outbound, writer) = spawn_writer(writer, timing, stop.clone());
    let link = Link::new(outbound);
    let in_flight = context.options.calls_in_flight_per_connection.max(1);
    let session = Session {
        peer: place.peer.clone(),
        link: link.clone(),
        stop: stop.clone(),
        in_flight: Arc::new(Semaphore::new(in_flight)),
        call_bytes: Arc::new(Semaphore::new(CALL_BYTES_PER_CONNECTION)),
        context: context.clone(),
    };
    let reason = tokio::select! {
        reason = session.read(&mut reader) => reason,
        reason = session.age(&place) => Some(reason),
        () = stop.cancelled() => None,
    };
    stop.cancel();
    link.close();
    match writer.await {
        Ok(WriterEnd::Stalled) => reason.or(Some(RefusalReason::WriteStalled)),
        _ => reason,
    }
}

struct Session {
    context: Arc<Context>,
    peer: Arc<Identity>,
    link: Arc<Link>,
    stop: CancellationToken,
    in_flight: Arc<Semaphore>,
    call_bytes: Arc<Semaphore>,
}

/// A running call's share of the connection's limits.
struct Permits {
    _call: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Session {
    async fn read(&self, reader: &mut Reader) -> Option<RefusalReason> {
        let idle = self.context.options.idle_timeout;
        loop {
            let handled = match reader.next(FRAME_BYTES, idle).await {
                Ok(frame) => self.handle(frame).await,
                Err(ReadError::End | ReadError::Io(_)) => return None,
                Err(ReadError::Idle) => return Some(RefusalReason::Idle),
                Err(ReadError::Frame(error)) => Err(error.into()),
            };
            match handled {
                Ok(()) => {}
                Err(StreamFrameError::Credit) => return Some(RefusalReason::Credit),
                Err(StreamFrameError::Frame(error)) => {
                    tracing::debug!(peer = %self.peer, %error, "peer broke the protocol");
                    return Some(RefusalReason::Frame);
                }
            }
        }
    }

    /// Waits until the connection is too old, or its certificate no longer holds. Before the age
    /// limit closes it, the peer is told to take its new calls elsewhere.
    async fn age(&self, place: &Place) -> RefusalReason {
        let options = &self.context.options;
        let too_old = Instant::now() + options.maximum_age;
        let expires = Instant::now() + remaining_validity(place);
        let mut changes = self.context.tls.changes();
        loop {
            tokio::select! {
                () = sleep_until(too_old) => break,
                () = sleep_until(expires) => return RefusalReason::CertificateWithdrawn,
                changed = changes.changed() => {
                    if changed.is_err() || self.context.tls.verify_client(&place.certificates).is_err() {
                        return RefusalReason::CertificateWithdrawn;
                    }
                }
            }
        }
        self.link
            .outbound
            .try_send(Frame::new(Kind::Reset, 0, Bytes::new()));
        sleep(options.age_grace).await;
        RefusalReason::Age
    }

    async fn handle(&self, frame: Frame) -> Result<(), StreamFrameError> {
        match (frame.kind, frame.stream) {
            (Kind::Credit, 0) => Ok(()),
            (_, 0) => Err(FrameError::Unexpected(frame.kind).into()),
            (Kind::Call, _) => {
                self.call(frame).await;
                Ok(())
            }
            (Kind::Open, _) => self.open(frame).await,
            (Kind::Data | Kind::End | Kind::Credit | Kind::Reset, _) => {
                self.link.stream_frame(frame)
            }
            (kind, _) => Err(FrameError::Unexpected(kind).into()),
        }
    }

    /// The one gate: what passes here may run.
    fn authorise(&self, code: u16) -> Result<Operation, (RefusalReason, ErrorClass)> {
        let not_served = (RefusalReason::NotServed, ErrorClass::NotServed);
        let operation = Operation::from_code(code).ok_or(not_served)?;
        if !allowed(self.peer.role, operation) {
            return Err((RefusalReason::NotAuthorised, ErrorClass::NotAuthorised));
        }
        let served = match operation.served_by() {
            ServedBy::Vault => bailiwick_types::PeerRole::Vault,
            ServedBy::Edge => bailiwick_types::PeerRole::Edge,
        };
        if served != self.context.role {
            return Err(not_served);
        }
        Ok(operation)
    }

    async fn permits(&self, bytes: usize) -> Option<Permits> {
        let bytes = u32::try_from(bytes.clamp(1, CALL_BYTES_PER_CONNECTION)).ok()?;
        let call = self.in_flight.clone().acquire_owned().await.ok()?;
        let bytes = self
            .call_bytes
            .clone()
            .acquire_many_owned(bytes)
            .await
            .ok()?;
        Some(Permits {
            _call: call,
            _bytes: bytes,
        })
    }

    async fn call(&self, frame: Frame) {
        let arrived = Instant::now();
        let Some(permits) = self.permits(frame.payload.len()).await else {
            return;
        };
        let id = frame.stream;
        let operation = match self.authorise(frame.operation) {
            Ok(_) if frame.deadline_ms == 0 => {
                Err((RefusalReason::NoDeadline, ErrorClass::NoDeadline))
            }
            other => other,
        };
        let operation = match operation {
            Ok(operation) => operation,
            Err(refused) => return self.answer_refusal(id, refused, permits),
        };
        let allowance = Duration::from_millis(frame.deadline_ms.into()).min(DEADLINE_CEILING);
        let deadline = arrived + allowance;
        let context = self.context.clone();
        let (peer, link) = (self.peer.clone(), self.link.clone());
        self.spawn(permits, async move {
            context.counters.count_call();
            // The handler's own synchronous part is inside, so that its panic stays here too.
            let run = async {
                context
                    .handler
                    .call(peer, operation, frame.payload, deadline)
                    .await
            };
            let ended = timeout_at(deadline, AssertUnwindSafe(run).catch_unwind()).await;
            let answer = match ended {
                Ok(Ok(Ok(reply))) if reply.len() > MESSAGE_BYTES => {
                    error_frame(id, ErrorClass::ReplyTooLarge, 0)
                }
                Ok(Ok(Ok(reply))) => Frame::new(Kind::Reply, id, reply),
                Ok(Ok(Err(refusal))) => refusal_frame(id, &refusal),
                Ok(Err(_)) => {
                    context.counters.count(RefusalReason::HandlerFailed);
                    error_frame(id, ErrorClass::Internal, 0)
                }
                Err(_) => {
                    context.counters.count(RefusalReason::Deadline);
                    error_frame(id, ErrorClass::Deadline, 0)
                }
            };
            // A closed connection has nobody to answer.
            let _ = link.outbound.send(answer).await;
        });
    }

    async fn open(&self, frame: Frame) -> Result<(), StreamFrameError> {
        let id = frame.stream;
        let operation = match self.authorise(frame.operation) {
            Ok(operation) => operation,
            Err(refused) => {
                if let Some(permits) = self.permits(0).await {
                    self.answer_refusal(id, refused, permits);
                }
                return Ok(());
            }
        };
        let (state, sender, receiver) = StreamState::new(id, &self.link, None);
        match self
            .link
            .add_stream(id, state.clone(), STREAMS_PER_CONNECTION)
        {
            Ok(()) => {}
            Err(AddStream::Reused) => return Err(FrameError::Reused(id).into()),
            Err(AddStream::Closed) => return Ok(()),
            Err(AddStream::Busy) => {
                if let Some(permits) = self.permits(0).await {
                    let refused = (RefusalReason::StreamsPerConnection, ErrorClass::Busy);
                    self.answer_refusal(id, refused, permits);
                }
                return Ok(());
            }
        }
        let context = self.context.clone();
        let (peer, link) = (self.peer.clone(), self.link.clone());
        self.spawn((), async move {
            context.counters.count_call();
            let run = async {
                context
                    .handler
                    .stream(peer, operation, frame.payload, sender, receiver)
                    .await
            };
            let ended = tokio::select! {
                ended = AssertUnwindSafe(run).catch_unwind() => ended,
                () = state.given_up.cancelled() => Ok(Ok(())),
            };
            let frames = match ended {
                _ if state.given_up.is_cancelled() => Vec::new(),
                Ok(Ok(())) => state.closing_frames(),
                Ok(Err(refusal)) => vec![refusal_frame(id, &refusal)],
                Err(_) => {
                    context.counters.count(RefusalReason::HandlerFailed);
                    vec![error_frame(id, ErrorClass::Internal, 0)]
                }
            };
            for frame in frames {
                let _ = link.outbound.send(frame).await;
            }
            link.forget_stream(id);
        });
        Ok(())
    }

    fn answer_refusal(
        &self,
        id: u64,
        (reason, class): (RefusalReason, ErrorClass),
        permits: Permits,
    ) {
        self.context.refuse(reason, Some(&self.peer));
        let link = self.link.clone();
        self.spawn(permits, async move {
            let _ = link.outbound.send(error_frame(id, class, 0)).await;
        });
    }

    /// Runs work that ends with the connection and holds its permits until then.
    fn spawn<P: Send + 'static>(
        &self,
        permits: P,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
            drop(permits);
        });
    }
}

/// How long the peer's certificate stays valid.
fn remaining_validity(place: &Place) -> Duration {
    let not_after = place.certificates.first().map(tls::not_after);
    match not_after {
        Some(Ok(not_after)) => {
            let left = not_after
                .seconds()
                .saturating_sub(UnixTime::now().as_secs());
            // A year is longer than any connection; it keeps the arithmetic of instants safe.
            Duration::from_secs(left.min(365 * 24 * 3600))
        }
        _ => Duration::ZERO,
    }
}
