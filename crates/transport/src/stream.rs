//! The two halves of a stream: ordered messages with credit, so that a slow reader stops its own
//! sender and nobody else.
//!
//! A sender may send while any credit is left, whole messages, so at most
//! [`STREAM_WINDOW_BYTES`] and one message are unread. On the client, dropping a half before its
//! direction ended gives the stream up; on the server, the handler's return ends it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bailiwick_types::limits::MESSAGE_BYTES;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::duplex::{Link, lock};
use crate::error::StreamError;
use crate::frame::{Frame, Kind};
use crate::limits::{CREDIT_STEP_BYTES, MESSAGE_OVERHEAD_BYTES, STREAM_WINDOW_BYTES};

/// What a message costs of the window.
fn cost(message: &Bytes) -> usize {
    message.len() + MESSAGE_OVERHEAD_BYTES
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

enum Inbound {
    Message(Bytes),
    End,
    Failed(StreamError),
}

/// What the connection's reader and the two halves share of a stream.
pub(crate) struct StreamState {
    id: u64,
    link: Arc<Link>,
    inbound: Mutex<Option<mpsc::UnboundedSender<Inbound>>>,
    /// Bytes taken in for which no credit has been returned.
    unread: AtomicUsize,
    credit: AtomicI64,
    credit_came: Notify,
    failed: OnceLock<StreamError>,
    local_ended: AtomicBool,
    remote_ended: AtomicBool,
    /// Cancelled when the peer gives the stream up.
    pub(crate) given_up: CancellationToken,
}

/// The peer sent beyond its credit.
#[derive(Debug)]
pub(crate) struct CreditExceeded;

impl StreamState {
    /// A stream's shared state and its halves. `owner` keeps the connection open while a half
    /// lives; on the server there is none and dropping a half means nothing.
    pub(crate) fn new(
        id: u64,
        link: &Arc<Link>,
        owner: Option<Arc<dyn Send + Sync>>,
    ) -> (Arc<Self>, StreamSender, StreamReceiver) {
        let (inbound, queue) = mpsc::unbounded_channel();
        let state = Arc::new(Self {
            id,
            link: link.clone(),
            inbound: Mutex::new(Some(inbound)),
            unread: AtomicUsize::new(0),
            credit: AtomicI64::new(signed(STREAM_WINDOW_BYTES)),
            credit_came: Notify::new(),
            failed: OnceLock::new(),
            local_ended: AtomicBool::new(false),
            remote_ended: AtomicBool::new(false),
            given_up: CancellationToken::new(),
        });
        let sender = StreamSender {
            state: state.clone(),
            owner: owner.clone(),
        };
        let receiver = StreamReceiver {
            state: state.clone(),
            queue,
            uncredited: 0,
            outcome: None,
            owner,
        };
        (state, sender, receiver)
    }

    /// A message arrived.
    pub(crate) fn data(&self, message: Bytes) -> Result<(), CreditExceeded> {
        let before = self.unread.fetch_add(cost(&message), Ordering::AcqRel);
        if before >= STREAM_WINDOW_BYTES {
            return Err(CreditExceeded);
        }
        self.push(Inbound::Message(message));
        Ok(())
    }

    /// The peer's direction ended.
    pub(crate) fn end(&self) {
        self.remote_ended.store(true, Ordering::Release);
        self.push(Inbound::End);
        *lock(&self.inbound) = None;
        self.forget_if_over();
    }

    /// The peer returned credit. More than the window at once is no credit that we ever owed.
    pub(crate) fn credit(&self, bytes: u32) {
        let window = signed(STREAM_WINDOW_BYTES);
        let add = i64::from(bytes);
        let _ = self
            .credit
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |credit| {
                Some(credit.saturating_add(add).min(window))
            });
        self.credit_came.notify_one();
    }

    /// The stream is over for both halves.
    pub(crate) fn fail(&self, error: StreamError) {
        self.push(Inbound::Failed(error.clone()));
        *lock(&self.inbound) = None;
        // Only the first failure is told; a later one adds nothing.
        let _ = self.failed.set(error);
        self.credit_came.notify_one();
        self.given_up.cancel();
    }

    /// What the server still owes the client after its handler returned.
    pub(crate) fn closing_frames(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        if !self.local_ended.swap(true, Ordering::AcqRel) {
            frames.push(Frame::new(Kind::End, self.id, Bytes::new()));
        }
        if !self.remote_ended.load(Ordering::Acquire) {
            frames.push(Frame::new(Kind::Reset, self.id, Bytes::new()));
        }
        frames
    }

    fn push(&self, item: Inbound) {
        if let Some(inbound) = lock(&self.inbound).as_ref() {
            // The receiver may be gone; then nobody wants the item.
            let _ = inbound.send(item);
        }
    }

    fn over(&self) -> bool {
        self.failed.get().is_some()
            || (self.local_ended.load(Ordering::Acquire)
                && self.remote_ended.load(Ordering::Acquire))
    }

    /// A client forgets a stream once both directions ended; a server's task does it itself.
    fn forget_if_over(&self) {
        if self.over() {
            self.link.forget_stream(self.id);
        }
    }

    fn give_up(&self) {
        if !self.over() {
            self.link
                .outbound
                .try_send(Frame::new(Kind::Reset, self.id, Bytes::new()));
            self.fail(StreamError::Finished);
        }
        self.link.forget_stream(self.id);
    }
}

/// The sending half of a stream.
pub struct StreamSender {
    state: Arc<StreamState>,
    owner: Option<Arc<dyn Send + Sync>>,
}

impl std::fmt::Debug for StreamSender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StreamSender({})", self.state.id)
    }
}

impl StreamSender {
    /// Sends one message of at most [`MESSAGE_BYTES`]; waits for credit and for the connection.
    /// Cancelled before it returns, the message was not sent, but its credit may be lost: give the
    /// stream up after cancelling.
    ///
    /// # Errors
    /// [`StreamError`]: the stream has ended, failed, or the message is too long.
    pub async fn send(&mut self, message: Bytes) -> Result<(), StreamError> {
        if message.len() > MESSAGE_BYTES {
            return Err(StreamError::TooLarge {
                length: message.len(),
            });
        }
        if self.state.local_ended.load(Ordering::Acquire) {
            return Err(StreamError::Finished);
        }
        loop {
            if let Some(error) = self.state.failed.get() {
                return Err(error.clone());
            }
            // A stored notification survives between this check and the wait.
            if self.state.credit.load(Ordering::Acquire) > 0 {
                break;
            }
            self.state.credit_came.notified().await;
        }
        self.state
            .credit
            .fetch_sub(signed(cost(&message)), Ordering::AcqRel);
        self.transmit(Frame::new(Kind::Data, self.state.id, message))
            .await
    }

    /// Ends this direction; the peer's receiver sees the end after the last message.
    ///
    /// # Errors
    /// [`StreamError`] when the stream failed before.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        if let Some(error) = self.state.failed.get() {
            return Err(error.clone());
        }
        if self.state.local_ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.transmit(Frame::new(Kind::End, self.state.id, Bytes::new()))
            .await?;
        if self.owner.is_some() {
            self.state.forget_if_over();
        }
        Ok(())
    }

    async fn transmit(&self, frame: Frame) -> Result<(), StreamError> {
        let sent = self.state.link.outbound.send(frame).await;
        sent.map_err(|_| StreamError::Closed)
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        if self.owner.is_some() && !self.state.local_ended.load(Ordering::Acquire) {
            self.state.give_up();
        }
    }
}

/// The receiving half of a stream.
pub struct StreamReceiver {
    state: Arc<StreamState>,
    queue: mpsc::UnboundedReceiver<Inbound>,
    uncredited: usize,
    outcome: Option<Result<(), StreamError>>,
    owner: Option<Arc<dyn Send + Sync>>,
}

impl std::fmt::Debug for StreamReceiver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StreamReceiver({})", self.state.id)
    }
}

impl StreamReceiver {
    /// The next message, in the order sent; `None` once the peer ended its direction. Asking for
    /// the next message is what returns the credit of those before. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`StreamError`]: refused, given up by the peer, or the connection closed. What came before
    /// is then not all that was to come.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamError> {
        if let Some(outcome) = &self.outcome {
            return outcome.clone().map(|()| None);
        }
        if self.uncredited >= CREDIT_STEP_BYTES {
            self.return_credit().await;
        }
        match self.queue.recv().await {
            Some(Inbound::Message(message)) => {
                self.uncredited += cost(&message);
                Ok(Some(message))
            }
            Some(Inbound::End) => {
                self.outcome = Some(Ok(()));
                Ok(None)
            }
            Some(Inbound::Failed(error)) => {
                self.outcome = Some(Err(error.clone()));
                Err(error)
            }
            None => {
                self.outcome = Some(Err(StreamError::Closed));
                Err(StreamError::Closed)
            }
        }
    }

    async fn return_credit(&mut self) {
        // Counted as returned before the frame leaves: the peer may use it at once. A cancelled
        // send takes it back, so that the credit is neither lost nor given twice.
        let bytes = self.uncredited;
        let state = self.state.clone();
        state.unread.fetch_sub(bytes, Ordering::AcqRel);
        let undo = Undo(|| {
            state.unread.fetch_add(bytes, Ordering::AcqRel);
        });
        let frame = Frame::credit(state.id, u32::try_from(bytes).unwrap_or(u32::MAX));
        // A closed connection shows in the queue.
        let _ = state.link.outbound.send(frame).await;
        std::mem::forget(undo);
        self.uncredited = 0;
    }
}

struct Undo<F: FnMut()>(F);

impl<F: FnMut()> Drop for Undo<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        if self.owner.is_some() && !self.state.remote_ended.load(Ordering::Acquire) {
            self.state.give_up();
        }
    }
}
