//! What both ends of a connection share: the way out, and the table of open streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::StreamError;
use crate::frame::{Frame, FrameError, Kind, call_error};
use crate::stream::{CreditExceeded, StreamState};
use crate::wire::Outbound;

/// Locks a table. A thread that panicked inside left it whole: every critical section here is one
/// insertion, removal or take.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's way out and its streams.
pub(crate) struct Link {
    pub(crate) outbound: Outbound,
    streams: Mutex<Streams>,
}

struct Streams {
    /// Turns false when the connection closes, so that no stream is added unseen afterwards.
    open: bool,
    by_id: HashMap<u64, Arc<StreamState>>,
}

/// Why a stream cannot be added.
#[derive(Debug)]
pub(crate) enum AddStream {
    Closed,
    Busy,
    Reused,
}

impl Link {
    pub(crate) fn new(outbound: Outbound) -> Arc<Self> {
        Arc::new(Self {
            outbound,
            streams: Mutex::new(Streams {
                open: true,
                by_id: HashMap::new(),
            }),
        })
    }

    pub(crate) fn add_stream(
        &self,
        id: u64,
        state: Arc<StreamState>,
        limit: usize,
    ) -> Result<(), AddStream> {
        let mut streams = lock(&self.streams);
        if !streams.open {
            return Err(AddStream::Closed);
        }
        if streams.by_id.contains_key(&id) {
            return Err(AddStream::Reused);
        }
        if streams.by_id.len() >= limit {
            return Err(AddStream::Busy);
        }
        streams.by_id.insert(id, state);
        Ok(())
    }

    pub(crate) fn stream(&self, id: u64) -> Option<Arc<StreamState>> {
        lock(&self.streams).by_id.get(&id).cloned()
    }

    pub(crate) fn forget_stream(&self, id: u64) {
        let forgotten = lock(&self.streams).by_id.remove(&id);
        // Dropped outside the lock.
        drop(forgotten);
    }

    /// Fails all streams and takes no more.
    pub(crate) fn close(&self) {
        let streams = {
            let mut streams = lock(&self.streams);
            streams.open = false;
            std::mem::take(&mut streams.by_id)
        };
        for state in streams.into_values() {
            state.fail(StreamError::Closed);
        }
    }

    /// Handles a frame that belongs to a stream. Frames of unknown streams are late, not wrong:
    /// both ends may end a stream at once.
    pub(crate) fn stream_frame(&self, frame: Frame) -> Result<(), StreamFrameError> {
        let Some(state) = self.stream(frame.stream) else {
            return Ok(());
        };
        match frame.kind {
            Kind::Data => state
                .data(frame.payload)
                .map_err(|CreditExceeded| StreamFrameError::Credit)?,
            Kind::End => state.end(),
            Kind::Credit => {
                let bytes = <[u8; 4]>::try_from(&frame.payload[..])
                    .map_err(|_| FrameError::Payload(Kind::Credit))?;
                state.credit(u32::from_be_bytes(bytes));
            }
            Kind::Reset => {
                self.forget_stream(frame.stream);
                state.fail(StreamError::Reset);
            }
            Kind::Error => {
                let error = call_error(&frame.payload)?;
                self.forget_stream(frame.stream);
                state.fail(StreamError::Refused(error));
            }
            kind => return Err(FrameError::Unexpected(kind).into()),
        }
        Ok(())
    }
}

/// What is wrong with a stream's frame; the peer is at fault and the connection closes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamFrameError {
    #[error("data beyond the stream's credit")]
    Credit,
    #[error("malformed stream frame")]
    Frame(#[from] FrameError),
}
