//! What one turn of a connection writes leaves in one piece. HTTP/2 hands every frame that is not small to the socket by
//! itself, so that sixty answers that are ready together would be sixty system calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answers::Answers;

/// Bytes gathered before they are sent in the middle of a turn.
const FULL: usize = 64 * 1024;
/// Memory a connection keeps whatever it had to say.
const SMALL: usize = 4 * 1024;

/// The end of a stream that the connection reads and writes. What is written waits for the end of the turn.
pub struct Corked<S>(Arc<Mutex<Pipe<S>>>);

/// The other end: sends what was gathered.
pub struct Cork<S>(Arc<Mutex<Pipe<S>>>);

struct Pipe<S> {
    stream: S,
    gathered: Vec<u8>,
    /// How many of the gathered bytes are sent already.
    sent: usize,
    /// Bytes gathered in this turn.
    written: usize,
    /// Why the last turn's bytes could not be sent; the next write is told.
    failed: Option<io::Error>,
}

/// Puts a cork on a stream.
pub fn cork<S>(stream: S) -> (Corked<S>, Cork<S>) {
    let pipe = Arc::new(Mutex::new(Pipe { stream, gathered: Vec::new(), sent: 0, written: 0, failed: None }));
    (Corked(pipe.clone()), Cork(pipe))
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    /// Runs the connection on the other end: reads, answers what came, and sends what was written, in one piece.
    pub async fn turn<F: Future>(&self, mut connection: Pin<&mut F>, answers: &Answers) -> F::Output {
        std::future::poll_fn(|context| {
            let mut turned = connection.as_mut().poll(context);
            if answers.run() && turned.is_pending() {
                // What was answered is ready to be written.
                turned = connection.as_mut().poll(context);
                if answers.run() {
                    context.waker().wake_by_ref();
                }
            }
            let mut pipe = self.0.lock();
            if let Poll::Ready(Err(error)) = pipe.poll_send(context) {
                pipe.failed = Some(error);
                context.waker().wake_by_ref();
            }
            pipe.rest();
            turned
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Pipe<S> {
    /// Sends all that is gathered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.gathered.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.gathered.clear();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Makes room for more: at once, or when the socket takes bytes again.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.gathered.len() < FULL { Poll::Ready(Ok(())) } else { self.poll_send(context) }
    }

    /// Ends a turn. A connection that had little to say keeps no memory for much.
    fn rest(&mut self) {
        let written = std::mem::take(&mut self.written);
        if written > 0 && self.gathered.is_empty() && self.gathered.capacity() > SMALL.max(written.saturating_mul(8)) {
            self.gathered = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock();
        ready!(pipe.poll_room(context))?;
        let before = pipe.gathered.len();
        for slice in slices {
            // One slice is a frame at most, and a frame is bounded by HTTP/2.
            pipe.gathered.extend_from_slice(slice);
        }
        let taken = pipe.gathered.len() - before;
        pipe.written += taken;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done with the turn: see [`Cork::turn`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.lock().failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.0.lock();
        ready!(pipe.poll_send(context))?;
        Pin::new(&mut pipe.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Counts how often it is written to.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncWrite for Counted {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// Writes pieces to the end of a pipe that holds so many bytes; answers what came out and in how many writes.
    async fn passed(pieces: Vec<Vec<u8>>, room: usize) -> (Vec<u8>, usize) {
        let (near, mut far) = tokio::io::duplex(room);
        let writes = Arc::new(AtomicUsize::new(0));
        let (mut corked, cork) = cork(Counted(near, writes.clone()));
        let mut writing = pin!(async move {
            for piece in pieces {
                corked.write_all(&piece).await.unwrap();
                corked.flush().await.unwrap();
            }
            corked.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        let answers = Answers::default();
        let (_, ended) = tokio::join!(cork.turn(writing.as_mut(), &answers), far.read_to_end(&mut read));
        ended.unwrap();
        (read, writes.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_one_turn_writes_leaves_in_one_piece() {
        let pieces: Vec<Vec<u8>> = (0..50).map(|byte| vec![byte; 1_000]).collect();
        assert_eq!(passed(pieces.clone(), 1 << 20).await, (pieces.concat(), 1));
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_gets_every_byte_in_order() {
        let pieces: Vec<Vec<u8>> = (0..200).map(|byte| vec![byte; 3_000]).collect();
        let (read, _) = passed(pieces.clone(), 777).await;
        assert!(read == pieces.concat(), "{} bytes", read.len());
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_an_error_of_the_next_write() {
        let (near, far) = tokio::io::duplex(16);
        let (mut corked, cork) = cork(near);
        drop(far);
        let writing = async move {
            corked.write_all(b"into the void").await?;
            tokio::task::yield_now().await;
            corked.write_all(b"once more").await
        };
        assert!(cork.turn(pin!(writing), &Answers::default()).await.is_err());
    }
}
