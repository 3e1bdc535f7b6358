//! Unary gRPC on HTTP/2, as little of it as one method needs: one length-prefixed message in, one out, status in the
//! trailers. Errors are answered without a body (trailers only). Follows the gRPC protocol's `PROTOCOL-HTTP2.md`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tonic::Status;

/// Bytes before each message: compressed flag and length.
pub const PREFIX: usize = 5;

/// Why there is no message to read.
#[derive(Debug)]
pub enum Unread {
    /// It is longer than allowed. All of it came and nothing of it was kept, so that an answer can be written.
    TooLong(usize),
    /// What came is no message.
    Broken(Status),
}

impl From<Status> for Unread {
    fn from(status: Status) -> Self {
        Unread::Broken(status)
    }
}

/// Reads the only message of a unary call, at most `limit` bytes of it. A message in one frame is not copied.
pub async fn read_message<B>(mut body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut expected = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(format!("the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                // The length is known from the prefix and within the limit, or 5 bytes have not come yet.
                rest.reserve(expected.unwrap_or(PREFIX).max(first.len() + data.len()));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        let so_far: &[u8] = if rest.is_empty() { &first } else { &rest };
        if expected.is_none() {
            expected = whole_length(so_far)?;
        }
        let Some(expected) = expected else { continue };
        if expected - PREFIX > limit {
            let left = expected.saturating_sub(so_far.len());
            drop((first, rest));
            discard(body, left).await?;
            return Err(Unread::TooLong(expected - PREFIX));
        }
        if so_far.len() > expected {
            return Err(Status::unimplemented("a unary call has one message").into());
        }
    }
    let mut message = if rest.is_empty() { first } else { rest.freeze() };
    match expected {
        Some(expected) if message.len() == expected => {
            message.advance(PREFIX);
            Ok(message)
        }
        _ => Err(Status::internal("the request ended in the middle of its message").into()),
    }
}

/// Reads what is left of a message and keeps none of it, and no more than that.
async fn discard<B>(mut body: B, mut left: usize) -> Result<(), Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while left > 0 {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| Status::cancelled(format!("the request broke off: {error}")))?;
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
    Ok(())
}

/// The length of prefix and message, once the prefix is there.
fn whole_length(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let Some(&[compressed, a, b, c, d]) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    if compressed != 0 {
        return Err(Status::unimplemented("compressed messages are not read"));
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    Ok(Some(length.saturating_add(PREFIX)))
}

/// The deadline a client asks for: `grpc-timeout`, at most eight digits and a unit. What is malformed is ignored, as
/// grpc's own servers do.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Whether a request is a gRPC call at all; the response to one that is not is 415 or 405.
pub fn refusal<B>(request: &Request<B>) -> Option<http::StatusCode> {
    if request.method() != http::Method::POST {
        return Some(http::StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_grpc = kind == b"application/grpc"
        || kind.starts_with(b"application/grpc+proto")
        || kind.starts_with(b"application/grpc;");
    (!is_grpc).then_some(http::StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// Told that the whole response was handed to the connection; dropped without being told where it was not.
pub trait Delivery: Unpin {
    fn delivered(&mut self);
}

/// The body of a response: one framed message, then `grpc-status: 0`.
#[derive(Debug)]
pub struct UnaryBody<G> {
    next: Next,
    guard: Option<G>,
}

#[derive(Debug)]
enum Next {
    Message(Bytes),
    Trailers,
    Nothing,
}

impl<G: Delivery> UnaryBody<G> {
    /// A response of one message, framed already; `guard` is told when it was delivered.
    pub fn response(framed: Bytes, guard: Option<G>) -> Response<Self> {
        let mut response = Response::new(UnaryBody { next: Next::Message(framed), guard });
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// An error: headers alone, with `grpc-status` and a percent-encoded `grpc-message`.
    #[must_use]
    pub fn error(status: Status) -> Response<Self> {
        status.into_http::<()>().map(|()| UnaryBody { next: Next::Nothing, guard: None })
    }

    /// A response that is not gRPC.
    #[must_use]
    pub fn plain(status: http::StatusCode) -> Response<Self> {
        let mut response = Response::new(UnaryBody { next: Next::Nothing, guard: None });
        *response.status_mut() = status;
        response
    }
}

impl<G: Delivery> Body for UnaryBody<G> {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match std::mem::replace(&mut this.next, Next::Nothing) {
            Next::Message(message) => {
                this.next = Next::Trailers;
                Frame::data(message)
            }
            Next::Trailers => {
                if let Some(guard) = &mut this.guard {
                    guard.delivered();
                }
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Frame::trailers(trailers)
            }
            Next::Nothing => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    /// The message, the code of the fault, or the length of what is too long.
    async fn read(bytes: Vec<u8>, limit: usize) -> Result<Bytes, Result<Code, usize>> {
        read_message(Full::new(Bytes::from(bytes)), limit).await.map_err(|unread| match unread {
            Unread::Broken(status) => Ok(status.code()),
            Unread::TooLong(length) => Err(length),
        })
    }

    #[tokio::test]
    async fn a_message_is_read_and_what_is_not_one_is_refused_by_its_own_code() {
        let mut compressed = framed(b"x");
        compressed[0] = 1;
        let two = [framed(b"x"), framed(b"y")].concat();
        let cases: [(Vec<u8>, Result<&[u8], Result<Code, usize>>); 9] = [
            (framed(b"hello"), Ok(b"hello")),
            (framed(b""), Ok(b"")),
            (framed(&[7; 11]), Err(Err(11))),
            (vec![0, 0xff, 0xff, 0xff, 0xff, 1], Err(Err(0xffff_ffff))),
            (compressed, Err(Ok(Code::Unimplemented))),
            (two, Err(Ok(Code::Unimplemented))),
            (framed(b"hello")[..7].to_vec(), Err(Ok(Code::Internal))),
            (vec![0, 0, 0], Err(Ok(Code::Internal))),
            (vec![], Err(Ok(Code::Internal))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes.clone(), 10).await, expected.map(Bytes::from_static), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_message_is_the_same_however_its_bytes_are_cut(
            message in proptest::collection::vec(any::<u8>(), 0..64),
            cuts in proptest::collection::vec(0usize..70, 0..6),
        ) {
            let bytes = framed(&message);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let frames: Vec<_> = cuts
                .windows(2)
                .map(|pair| Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]))))
                .collect();
            let body = StreamBody::new(tokio_stream::iter(frames));
            let read = futures_util::FutureExt::now_or_never(read_message(body, 64)).unwrap().unwrap();
            prop_assert_eq!(&read[..], &message[..]);
        }
    }

    #[test]
    fn deadlines_are_read_with_their_unit_and_nonsense_is_no_deadline() {
        let cases = [
            ("200m", Some(Duration::from_millis(200))),
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("-1S", None),
            ("1 S", None),
            ("1s", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            assert_eq!(timeout(&headers), expected, "{text}");
        }
    }
}
