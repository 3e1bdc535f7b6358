//! The load: four connections, 64 requests at once on each. Closed loop: every stream asks again as soon as it is answered. Open loop:
//! requests are due at a fixed rate, whatever the server does, and latency counts from when they were due.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};

use super::metered;

const CONNECTIONS: usize = 4;
/// Requests that are under way at once, unless a contender says otherwise.
pub const CONCURRENT: usize = 256;
/// A turn of the load takes tens of microseconds; one that took longer than this was not left alone.
const PAUSE: Duration = Duration::from_millis(1);
/// How often it is looked how long the load stood in line.
const LOOK: Duration = Duration::from_micros(200);
/// What the load does for one answer takes less than this.
const ANSWER: Duration = Duration::from_micros(30);
/// One answer in so many is decoded and must be an OK; all must have gRPC status 0 and a message.
const LOOKED_AT: u64 = 64;

pub struct Load {
    senders: Vec<SendRequest<Bytes>>,
    connections: Vec<JoinHandle<()>>,
    /// Requests at once on each connection.
    streams: usize,
    head: Request<()>,
    message: Bytes,
    /// The port, where each Check is followed by the exchange it lets in.
    metered: Option<u16>,
    /// What every answer must be: refusals are cheaper.
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Allowed,
    Refused,
}

/// How long each answered request took, in the order of answers.
pub struct Times {
    pub micros: Vec<f64>,
    pub elapsed: Duration,
    /// How long the load itself stood still, in pauses of more than [`PAUSE`], though it never sleeps: what else takes its
    /// core away, a Redis beside it or the host of a virtual machine.
    pub paused: Duration,
    /// Of that, what the host took: the load stood in line behind nobody on this machine, and had nothing to do.
    pub taken: Duration,
}

impl Times {
    pub fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The time that this share of requests stayed within.
    pub fn percentile(&self, share: f64) -> f64 {
        percentile(&self.micros, share)
    }

    /// The same in an ordinary tenth of a second: the median of the tenths. What befalls the machine a few times a second
    /// does not move it; what a server does to its callers all the time does.
    pub fn ordinary_percentile(&self, share: f64) -> f64 {
        let tenth = (self.per_second() / 10.0).ceil().max(1.0) as usize;
        let tenths: Vec<f64> = self.micros.chunks(tenth).map(|micros| percentile(micros, share)).collect();
        percentile(&tenths, 0.5)
    }
}

/// How long this thread has stood in line for its core so far, behind others of this machine. A pause in which that did not
/// grow is the host's.
struct InLine(File);

impl InLine {
    fn new() -> Self {
        InLine(File::open("/proc/thread-self/schedstat").expect("Linux counts what the scheduler does"))
    }

    fn time(&self) -> Duration {
        let mut bytes = [0; 96];
        let length = self.0.read_at(&mut bytes, 0).expect("the kernel's count");
        let said = std::str::from_utf8(&bytes[..length]).expect("numbers");
        Duration::from_nanos(said.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).expect("nanoseconds"))
    }
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(index.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

impl Load {
    /// Connects for so many requests at once.
    pub async fn connect(port: u16, message: Bytes, concurrent: usize) -> Self {
        let head = Request::post(format!("http://127.0.0.1:{port}/envoy.service.auth.v3.Authorization/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (mut senders, mut connections) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS.min(concurrent) {
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the server listens");
            socket.set_nodelay(true).expect("a TCP socket");
            let (sender, connection) = h2::client::Builder::new()
                .initial_window_size(1 << 20)
                .initial_connection_window_size(1 << 24)
                .handshake::<_, Bytes>(socket)
                .await
                .expect("HTTP/2");
            connections.push(tokio::spawn(async move {
                // Ends with an error when the server is stopped.
                let _ = connection.await;
            }));
            senders.push(sender);
        }
        Load {
            streams: concurrent / senders.len(),
            senders,
            connections,
            head,
            message,
            metered: None,
            expected: Expected::Allowed,
        }
    }

    /// Hangs up, so that a server that is told to stop has nobody to wait for.
    pub async fn hang_up(self) {
        for connection in self.connections {
            connection.abort();
            let _ = connection.await;
        }
    }

    /// Lets every Check be followed by the exchange it lets in, shown to the meter.
    pub fn metered(self, port: u16) -> Self {
        Load { metered: Some(port), ..self }
    }

    /// Expects that everything is refused.
    pub fn refused(self) -> Self {
        Load { expected: Expected::Refused, ..self }
    }

    /// Asks as fast as answers come.
    pub async fn saturate(&mut self, duration: Duration) -> Times {
        let times = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let local = LocalSet::new();
        for sender in &self.senders {
            for _ in 0..self.streams {
                let (sender, head, message) = (sender.clone(), self.head.clone(), self.message.clone());
                let (times, metered, expected) = (times.clone(), self.metered, self.expected);
                local.spawn_local(async move {
                    while start.elapsed() < duration {
                        let asked = Instant::now();
                        let ordinal = times.borrow().len() as u64;
                        let answer = ask(sender.clone(), head.clone(), message.clone(), ordinal, expected).await;
                        if let Some(port) = metered {
                            metered::settle(sender.clone(), port, &answer).await;
                        }
                        times.borrow_mut().push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                });
            }
        }
        local.await;
        Times { micros: times.take(), elapsed: start.elapsed(), paused: Duration::ZERO, taken: Duration::ZERO }
    }

    /// Asks each of these once.
    pub async fn each(&mut self, messages: &[Bytes]) -> Times {
        let (times, next) = (Rc::new(RefCell::new(Vec::with_capacity(messages.len()))), Rc::new(Cell::new(0)));
        let messages: Rc<[Bytes]> = messages.into();
        let start = Instant::now();
        let local = LocalSet::new();
        for sender in &self.senders {
            for _ in 0..self.streams {
                let (sender, head, messages) = (sender.clone(), self.head.clone(), Rc::clone(&messages));
                let (times, next, expected) = (Rc::clone(&times), Rc::clone(&next), self.expected);
                local.spawn_local(async move {
                    while let Some(message) = messages.get(next.get()) {
                        let ordinal = next.replace(next.get() + 1) as u64;
                        let asked = Instant::now();
                        ask(sender.clone(), head.clone(), message.clone(), ordinal, expected).await;
                        times.borrow_mut().push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                });
            }
        }
        local.await;
        Times { micros: times.take(), elapsed: start.elapsed(), paused: Duration::ZERO, taken: Duration::ZERO }
    }

    /// Asks so many times a second. The core is ours alone: the loop never sleeps, so that each request leaves when it
    /// is due and not at the next tick of a timer. While the host has the core nothing is due: nobody could ask, and whoever
    /// asked all that at once afterwards would measure that.
    pub async fn at_rate(&mut self, per_second: f64, duration: Duration) -> Times {
        let mut micros = Vec::with_capacity((per_second * duration.as_secs_f64() * 1.1) as usize);
        let interval = Duration::from_secs_f64(1.0 / per_second.max(1.0));
        let start = Instant::now();
        let (mut due, mut ordinal) = (start, 0_u64);
        let mut running = FuturesUnordered::new();
        let (mut last, mut paused) = (start, Duration::ZERO);
        let (in_line, mut taken, mut answered) = (InLine::new(), Duration::ZERO, 0);
        let (mut looked, mut stood) = (start, in_line.time());
        loop {
            let pause = last.elapsed();
            last += pause;
            if pause > PAUSE || last - looked > LOOK {
                let before = std::mem::replace(&mut stood, in_line.time());
                if pause > PAUSE {
                    let by_host = pause.saturating_sub(stood - before).saturating_sub(ANSWER * answered);
                    taken += by_host;
                    due += by_host;
                    paused += pause;
                }
                looked = last;
            }
            answered = 0;
            while due <= Instant::now() && due < start + duration + taken {
                let sender = self.senders[ordinal as usize % self.senders.len()].clone();
                let (head, message, asked, metered) = (self.head.clone(), self.message.clone(), due, self.metered);
                let expected = self.expected;
                running.push(async move {
                    let answer = ask(sender.clone(), head, message, ordinal, expected).await;
                    if let Some(port) = metered {
                        metered::settle(sender, port, &answer).await;
                    }
                    asked.elapsed().as_secs_f64() * 1e6
                });
                ordinal += 1;
                due += interval;
            }
            while let Some(Some(ended)) = running.next().now_or_never() {
                micros.push(ended);
                answered += 1;
            }
            if running.is_empty() && due >= start + duration + taken {
                return Times { micros, elapsed: start.elapsed(), paused, taken };
            }
            // Whoever shares the core goes first: a Redis that must wait for a slice of time answers milliseconds late.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}

/// One Check, and the message it is answered with. Anything but what is expected ends the benchmark.
async fn ask(sender: SendRequest<Bytes>, head: Request<()>, message: Bytes, ordinal: u64, expected: Expected) -> Bytes {
    let mut sender = sender.ready().await.expect("a stream");
    let (response, mut stream) = sender.send_request(head, false).expect("a stream");
    stream.send_data(message, true).expect("room in the window");
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), 200, "{response:?}");
    assert!(response.headers().get("grpc-status").is_none_or(|status| status == "0"), "{response:?}");
    let mut body = response.into_body();
    let mut data = Bytes::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("the answer's body");
        let _ = body.flow_control().release_capacity(chunk.len());
        if data.is_empty() {
            data = chunk;
        } else {
            data = [data, chunk].concat().into();
        }
    }
    let trailers = body.trailers().await.expect("trailers").unwrap_or_default();
    assert!(trailers.get("grpc-status").is_none_or(|status| status == "0"), "{trailers:?}");
    assert!(data.len() > 5, "no message: {trailers:?}");
    if ordinal.is_multiple_of(LOOKED_AT) {
        let response = CheckResponse::decode(&data[5..]).expect("a CheckResponse");
        let found = match &response.http_response {
            Some(HttpResponse::OkResponse(_)) => Some(Expected::Allowed),
            // Known, and not allowed: whoever is not known gets 401.
            Some(HttpResponse::DeniedResponse(denied)) if denied.status.as_ref().is_some_and(|s| s.code == 403) => {
                Some(Expected::Refused)
            }
            _ => None,
        };
        assert_eq!(found, Some(expected), "{response:?}");
    }
    data.slice(5..)
}
