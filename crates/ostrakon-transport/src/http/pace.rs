//! How long a connection may do what it is doing.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// What a connection is waiting for.
#[derive(Clone, Copy)]
enum Stage {
    /// The next request.
    Idle(Instant),
    /// The rest of a request's head.
    Head(Instant),
    /// The answer to a request.
    Busy,
    /// The client's end, after a request was refused before all of it had come.
    Lingering(Instant),
}

struct State {
    stage: Stage,
    /// Since when the client has taken nothing of what is to be written.
    stalled: Option<Instant>,
}

/// The pace that one connection must keep; shared by its stream, its service and its timer.
#[derive(Clone)]
pub(super) struct Pace {
    state: Arc<Mutex<State>>,
    allowed: Allowed,
}

/// How long each stage may take.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) write: Duration,
}

impl Pace {
    /// A connection begins: the first head is due.
    pub(super) fn new(allowed: Allowed) -> Self {
        let state = State {
            stage: Stage::Head(Instant::now()),
            stalled: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            allowed,
        }
    }

    /// A head is complete: no deadline runs until the value returned is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.update(|state| state.stage = Stage::Busy);
        Busy(self.clone())
    }

    /// A request was refused before all of it had come.
    ///
    /// Closing then would reset the connection, and the client might lose the refusal with it. So what
    /// still comes is read and thrown away, until the client closes or the time to write is over.
    pub(super) fn linger(&self) {
        self.update(|state| state.stage = Stage::Lingering(Instant::now()));
    }

    fn lingers(&self) -> bool {
        self.update(|state| matches!(state.stage, Stage::Lingering(_)))
    }

    fn received(&self) {
        self.update(|state| {
            if matches!(state.stage, Stage::Idle(_)) {
                state.stage = Stage::Head(Instant::now());
            }
        });
    }

    fn wrote(&self, pending: bool) {
        self.update(|state| {
            state.stalled = match state.stalled {
                _ if !pending => None,
                None => Some(Instant::now()),
                since => since,
            }
        });
    }

    fn deadline(&self) -> Option<Instant> {
        self.update(|state| {
            // A deadline beyond the end of time is none.
            let stage = match state.stage {
                Stage::Idle(since) => since.checked_add(self.allowed.idle),
                Stage::Head(since) => since.checked_add(self.allowed.head),
                Stage::Busy => None,
                Stage::Lingering(since) => since.checked_add(self.allowed.write),
            };
            let stalled = state.stalled;
            let write = stalled.and_then(|since| since.checked_add(self.allowed.write));
            stage.into_iter().chain(write).min()
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request is being answered.
pub(super) struct Busy(Pace);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.update(|state| {
            if matches!(state.stage, Stage::Busy) {
                state.stage = Stage::Idle(Instant::now());
            }
        });
    }
}

/// Completes when the connection has not kept its pace.
///
/// To be polled after the connection and in the same task: what the connection does at one poll moves
/// the deadline.
pub(super) struct Overdue {
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
}

impl Overdue {
    pub(super) fn new(pace: Pace) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now()));
        Self { pace, sleep }
    }
}

impl Future for Overdue {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.pace.deadline() else {
            return Poll::Pending;
        };
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        // A client that keeps the connection reading uses up the task's budget, without which the timer
        // would never be looked at.
        pin!(unconstrained(self.sleep.as_mut())).poll(cx)
    }
}

/// A stream that tells the pace what passes through it.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace }
    }

    fn note<T>(&self, result: Poll<T>) -> Poll<T> {
        self.pace.wrote(result.is_pending());
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.pace.received();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        ready!(self.note(result))?;
        if self.pace.lingers() {
            return self.poll_discard(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads to the end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 8 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
