//! Reading and writing frames on one TLS connection. Not the meaning of the frames.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::frame::{self, Frame, FrameError};
use crate::limits::{COALESCE_BYTES, READ_BYTES, WRITE_QUEUE_BYTES, WRITE_QUEUE_FRAMES};

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the peer closed the connection")]
    End,
    #[error("reading failed")]
    Io(#[source] io::Error),
    #[error("the peer broke the protocol")]
    Frame(#[from] FrameError),
    #[error("no complete frame in time")]
    Idle,
}

/// Reads frames.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame, whole within `idle`: a peer that sends a frame byte by byte is as dead as
    /// one that sends nothing. Cancelling loses nothing.
    pub(crate) async fn next(&mut self, limit: usize, idle: Duration) -> Result<Frame, ReadError> {
        if let Some(frame) = frame::decode(&mut self.buffer, limit)? {
            return Ok(frame);
        }
        timeout(idle, self.read_more(limit))
            .await
            .map_err(|_| ReadError::Idle)?
    }

    async fn read_more(&mut self, limit: usize) -> Result<Frame, ReadError> {
        loop {
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
                self.buffer.reserve(READ_BYTES);
            }
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(ReadError::End),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::End);
                }
                Err(error) => return Err(ReadError::Io(error)),
            }
            if let Some(frame) = frame::decode(&mut self.buffer, limit)? {
                return Ok(frame);
            }
        }
    }
}

struct Queued {
    frame: Frame,
    /// Its share of [`WRITE_QUEUE_BYTES`], given back when it is written.
    _room: OwnedSemaphorePermit,
}

/// The way to a connection's writer task: bounded in frames and bytes.
#[derive(Clone)]
pub(crate) struct Outbound {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// The connection has ended; nothing was queued.
#[derive(Debug)]
pub(crate) struct LinkClosed;

impl Outbound {
    fn cost(frame: &Frame) -> u32 {
        u32::try_from(frame.payload.len().clamp(1, WRITE_QUEUE_BYTES)).unwrap_or(u32::MAX)
    }

    /// Queues a frame, waiting for room. Cancelled before it returns, nothing was queued.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), LinkClosed> {
        let room = self
            .room
            .clone()
            .acquire_many_owned(Self::cost(&frame))
            .await
            .map_err(|_| LinkClosed)?;
        let slot = self.queue.reserve().await.map_err(|_| LinkClosed)?;
        slot.send(Queued { frame, _room: room });
        Ok(())
    }

    /// Queues a frame if there is room now. For what the peer can do without.
    pub(crate) fn try_send(&self, frame: Frame) -> bool {
        let Ok(room) = self.room.clone().try_acquire_many_owned(Self::cost(&frame)) else {
            return false;
        };
        self.queue.try_send(Queued { frame, _room: room }).is_ok()
    }
}

/// Why a writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriterEnd {
    /// It was told to.
    Stopped,
    /// The peer stopped reading.
    Stalled,
    /// The socket failed.
    Failed,
}

/// The timing of a writer.
#[derive(Clone, Copy)]
pub(crate) struct WriterTiming {
    /// After this long without output, a sign of life is written.
    pub(crate) keepalive: Duration,
    /// One write that takes longer than this ends the connection.
    pub(crate) stall: Duration,
}

/// Starts the one writer task of a connection. It ends with `stop`, which it also cancels when the
/// socket fails, after it wrote what was queued.
pub(crate) fn spawn_writer<W>(
    io: W,
    timing: WriterTiming,
    stop: CancellationToken,
) -> (Outbound, tokio::task::JoinHandle<WriterEnd>)
where
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (queue, frames) = mpsc::channel(WRITE_QUEUE_FRAMES);
    let room = Arc::new(Semaphore::new(WRITE_QUEUE_BYTES));
    let outbound = Outbound {
        queue,
        room: room.clone(),
    };
    let writer = tokio::spawn(async move {
        let end = Writer { io, timing }.run(frames, &stop).await;
        room.close();
        stop.cancel();
        end
    });
    (outbound, writer)
}

/// Lets every task that is ready to run queue its frame, so that they share a record and a system
/// call. It costs a lone caller one turn of the scheduler, not a wait.
async fn gather(frames: &mut mpsc::Receiver<Queued>, batch: &mut Vec<Queued>) {
    tokio::task::yield_now().await;
    while batch.len() < BATCH_FRAMES {
        match frames.try_recv() {
            Ok(queued) => batch.push(queued),
            Err(_) => return,
        }
    }
}

/// Most frames of one write.
const BATCH_FRAMES: usize = 256;

struct Writer<W> {
    io: W,
    timing: WriterTiming,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    async fn run(
        mut self,
        mut frames: mpsc::Receiver<Queued>,
        stop: &CancellationToken,
    ) -> WriterEnd {
        let mut batch = Vec::with_capacity(BATCH_FRAMES);
        let mut buffer = BytesMut::new();
        loop {
            let received = tokio::select! {
                received = timeout(self.timing.keepalive, frames.recv_many(&mut batch, BATCH_FRAMES)) => received,
                () = stop.cancelled() => {
                    return self.finish(frames, batch, buffer).await;
                }
            };
            let written = match received {
                Ok(0) => return self.finish(frames, batch, buffer).await,
                Ok(_) => {
                    gather(&mut frames, &mut batch).await;
                    self.write(&mut batch, &mut buffer)
                }
                Err(_) => {
                    Frame::credit(0, 0).encode_whole(&mut buffer);
                    self.write(&mut batch, &mut buffer)
                }
            };
            // A writer blocked on a peer that does not read must still hear that it is over.
            let written = tokio::select! {
                written = written => written,
                () = stop.cancelled() => return WriterEnd::Stopped,
            };
            if let Err(end) = written {
                return end;
            }
        }
    }

    /// Writes what is queued, then says goodbye; both within a second.
    async fn finish(
        mut self,
        mut frames: mpsc::Receiver<Queued>,
        mut batch: Vec<Queued>,
        mut buffer: BytesMut,
    ) -> WriterEnd {
        frames.close();
        while let Ok(queued) = frames.try_recv() {
            batch.push(queued);
        }
        let last = async {
            let _ = self.write(&mut batch, &mut buffer).await;
            let _ = self.io.shutdown().await;
        };
        let _ = timeout(Duration::from_secs(1), last).await;
        WriterEnd::Stopped
    }

    async fn write(
        &mut self,
        batch: &mut Vec<Queued>,
        buffer: &mut BytesMut,
    ) -> Result<(), WriterEnd> {
        match timeout(self.timing.stall, self.write_batch(batch, buffer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(WriterEnd::Failed),
            Err(_) => Err(WriterEnd::Stalled),
        }
    }

    async fn write_batch(
        &mut self,
        batch: &mut Vec<Queued>,
        buffer: &mut BytesMut,
    ) -> io::Result<()> {
        for Queued { frame, _room } in batch.drain(..) {
            if frame.payload.len() <= COALESCE_BYTES {
                frame.encode_whole(buffer);
            } else {
                frame.encode_header(buffer);
                self.io.write_all(buffer).await?;
                buffer.clear();
                self.io.write_all(&frame.payload).await?;
            }
            if buffer.len() >= 4 * COALESCE_BYTES {
                self.io.write_all(buffer).await?;
                buffer.clear();
            }
        }
        self.io.write_all(buffer).await?;
        buffer.clear();
        self.io.flush().await
    }
}
