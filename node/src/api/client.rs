//! The other end: asks a running node over its socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::socket::{self, SocketError};
use super::{PROOF_HEADER, RotateAnswer, WAIT_MAX, WireError};
use crate::answers::AskError;
use crate::answers::evidence::EvidenceAnswer;
use crate::answers::keys::KeysAnswer;
use crate::answers::peers::PeersAnswer;
use crate::answers::prove::{ProofAnswer, ProofQuery};
use crate::answers::readings::{ReadingAnswer, ReadingsQuery};
use crate::answers::segment::{SegmentAnswer, SegmentQuery};
use crate::answers::status::StatusAnswer;
use crate::answers::streams::StreamsAnswer;
use crate::answers::tangle::TangleAnswer;
use crate::answers::write::WriteAnswer;

/// Longest answer that is taken whole, in bytes. Readings come line by line and are not bounded.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest line of an answer.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// An answer begins, and goes on, within this time: the wait for a turn, and a slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(WAIT_MAX.as_secs() + 50);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no node answers on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's path cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The socket cannot be reached.
    #[error("cannot ask the node on {}: {why}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// The answer did not come in time.
    #[error("the node on {} did not answer within {} s; `journalctl -u selvedge` may say why", path.display(), ANSWER_WITHIN.as_secs())]
    Late {
        /// The socket.
        path: PathBuf,
    },
    /// The answer broke off, or is none.
    #[error("the node's answer cannot be used: {why}; is it of another version?")]
    Answer {
        /// Why.
        why: String,
    },
    /// The node says why there is no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

fn unusable(why: impl std::fmt::Display) -> ClientError {
    ClientError::Answer { why: why.to_string() }
}

/// Did the other side go away, as opposed to saying nonsense?
fn is_gone(why: &(dyn std::error::Error + 'static)) -> bool {
    let is_io = |e: &(dyn std::error::Error + 'static)| e.is::<io::Error>();
    match why.downcast_ref::<hyper::Error>() {
        Some(error) => {
            error.is_canceled()
                || error.is_closed()
                || error.is_incomplete_message()
                || std::error::Error::source(error).is_some_and(is_io)
        }
        None => is_io(why),
    }
}

/// Asks over one socket; each question is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client for the node with this socket. Nothing is asked yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does anybody listen?
    ///
    /// # Errors
    /// When that cannot be found out: the path is too long, or belongs to another user.
    pub fn is_answered(&self) -> Result<bool, ClientError> {
        socket::check_path(&self.path)?;
        match std::os::unix::net::UnixStream::connect(&self.path) {
            Ok(_) => Ok(true),
            Err(why) => match self.refused(why) {
                ClientError::NotRunning { .. } => Ok(false),
                other => Err(other),
            },
        }
    }

    fn refused(&self, why: io::Error) -> ClientError {
        let path = self.path.clone();
        match why.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { path },
            _ => ClientError::Io { path, why },
        }
    }

    /// A node that went away before it answered does not run any more.
    fn broken(&self, why: &(dyn std::error::Error + 'static)) -> ClientError {
        if is_gone(why) { ClientError::NotRunning { path: self.path.clone() } } else { unusable(why) }
    }

    /// Asks for a path with its query; gives the answer's head, and its body still to be read.
    ///
    /// # Errors
    /// When nobody listens, the answer does not come, or says why there is none.
    pub async fn get(&self, path_and_query: &str) -> Result<Response<Incoming>, ClientError> {
        self.send(Method::GET, path_and_query).await
    }

    async fn send(&self, method: Method, path_and_query: &str) -> Result<Response<Incoming>, ClientError> {
        socket::check_path(&self.path)?;
        let stream = UnixStream::connect(&self.path).await.map_err(|why| self.refused(why))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|why| self.broken(&why))?;
        // Ends with the answer's body; what goes wrong is seen there.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path_and_query);
        let request = request.header(hyper::header::HOST, "selvedge");
        let request = request.body(Empty::<Bytes>::new()).map_err(unusable)?;
        let response = self.in_time(sender.send_request(request)).await?.map_err(|why| self.broken(&why))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let body = self.whole(response).await?;
        match serde_json::from_slice::<WireError>(&body) {
            Ok(error) => Err(error.error.reason.into()),
            Err(_) => Err(unusable(format!("status {status} without a reason"))),
        }
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, ClientError> {
        let late = |_| ClientError::Late { path: self.path.clone() };
        tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(late)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        Ok(self.in_time(body).await?.map_err(|why| self.broken(why.as_ref()))?.to_bytes())
    }

    async fn json<T: DeserializeOwned>(&self, path_and_query: &str) -> Result<T, ClientError> {
        let body = self.get(path_and_query).await?;
        serde_json::from_slice(&self.whole(body).await?).map_err(unusable)
    }

    /// How the gateway is.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn status(&self) -> Result<StatusAnswer, ClientError> {
        self.json("/v0/status").await
    }

    /// Its streams.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn streams(&self) -> Result<StreamsAnswer, ClientError> {
        self.json("/v0/streams").await
    }

    /// The newest transactions.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn tangle(&self, last: usize) -> Result<TangleAnswer, ClientError> {
        self.json(&format!("/v0/tangle?last={last}")).await
    }

    /// The peers.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn peers(&self) -> Result<PeersAnswer, ClientError> {
        self.json("/v0/peers").await
    }

    /// The forks.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn evidence(&self) -> Result<EvidenceAnswer, ClientError> {
        self.json("/v0/evidence").await
    }

    /// The keys that its chain names.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn keys(&self) -> Result<KeysAnswer, ClientError> {
        self.json("/v0/keys").await
    }

    /// Gives the gateway its next key.
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`AskError::Refused`] says why the key is as it was.
    pub async fn rotate(&self) -> Result<RotateAnswer, ClientError> {
        let body = self.send(Method::POST, "/v0/rotate").await?;
        serde_json::from_slice(&self.whole(body).await?).map_err(unusable)
    }

    /// Writes a value to a machine, on behalf of `by`.
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`AskError::Refused`] says why nothing was sent.
    pub async fn write(&self, stream: &str, value: &str, by: &str) -> Result<WriteAnswer, ClientError> {
        let pairs = [("stream", stream), ("value", value), ("by", by)];
        let path = with_query("/v0/write", pairs.map(|(key, text)| (key, Some(text.to_owned()))));
        let body = self.send(Method::POST, &path).await?;
        serde_json::from_slice(&self.whole(body).await?).map_err(unusable)
    }

    /// The proof of a reading.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn prove(&self, query: &ProofQuery) -> Result<ProofAnswer, ClientError> {
        let pairs = [("stream", Some(query.stream.clone())), ("at", query.at.map(|at| at.to_string()))];
        let response = self.get(&with_query("/v0/proof", pairs)).await?;
        let about =
            response.headers().get(PROOF_HEADER).ok_or_else(|| unusable("it does not say what it proves"))?;
        let about = serde_json::from_slice(about.as_bytes()).map_err(unusable)?;
        Ok(ProofAnswer { bytes: self.whole(response).await?.to_vec(), about })
    }

    /// The transaction that names an archive segment.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn segment(&self, query: &SegmentQuery) -> Result<SegmentAnswer, ClientError> {
        let batch = query.batch.map(|batch| batch.to_string());
        self.json(&with_query("/v0/segment", [("hash", query.hash.clone()), ("batch", batch)])).await
    }

    /// Readings, one by one.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn readings(&self, query: &ReadingsQuery) -> Result<Lines, ClientError> {
        let pairs = [
            ("stream", query.stream.clone()),
            ("from", query.from.map(|from| from.to_string())),
            ("to", query.to.map(|to| to.to_string())),
            ("last", query.last.map(|last| last.to_string())),
        ];
        let body = self.get(&with_query("/v0/readings", pairs)).await?.into_body();
        let (client, buffer) = (self.clone(), Vec::new());
        Ok(Lines { client, body, buffer, taken: 0, has_begun: false, is_over: false })
    }
}

/// Readings as they come.
#[derive(Debug)]
pub struct Lines {
    client: Client,
    body: Incoming,
    buffer: Vec<u8>,
    /// What of the buffer was given out already.
    taken: usize,
    /// Did anything come yet? Before that, a node that goes away has not answered at all.
    has_begun: bool,
    is_over: bool,
}

impl Lines {
    /// The next reading; `None` after the last. After an error there is none.
    ///
    /// # Errors
    /// When the answer breaks off, or ends in a reason.
    pub async fn next(&mut self) -> Result<Option<ReadingAnswer>, ClientError> {
        if self.is_over {
            return Ok(None);
        }
        let next = self.line().await;
        self.is_over = !matches!(next, Ok(Some(_)));
        next
    }

    async fn line(&mut self) -> Result<Option<ReadingAnswer>, ClientError> {
        loop {
            let rest = &self.buffer[self.taken..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = &rest[..length];
                self.taken += length + 1;
                return reading_in(line).map(Some);
            }
            if rest.len() > LINE_BYTES_MAX {
                return Err(unusable(format!("a line longer than {LINE_BYTES_MAX} bytes")));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            match self.client.in_time(self.body.frame()).await? {
                Some(frame) => {
                    let broken = |why| if self.has_begun { unusable(why) } else { self.client.broken(&why) };
                    if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                        self.has_begun = true;
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(unusable("it ends within a line")),
            }
        }
    }
}

fn reading_in(line: &[u8]) -> Result<ReadingAnswer, ClientError> {
    match serde_json::from_slice(line) {
        Ok(reading) => Ok(reading),
        Err(why) => match serde_json::from_slice::<WireError>(line) {
            Ok(error) => Err(error.error.reason.into()),
            Err(_) => Err(unusable(why)),
        },
    }
}

/// A path with its query, percent-encoded (RFC 3986).
fn with_query<const N: usize>(path: &str, pairs: [(&str, Option<String>); N]) -> String {
    let mut asked = path.to_owned();
    let mut separator = '?';
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        asked.push(separator);
        asked.push_str(key);
        asked.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                asked.push(char::from(byte));
            } else {
                let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half)]);
                asked.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        separator = '&';
    }
    asked
}

/// The same for programs without a runtime, such as the commands.
#[derive(Debug)]
pub struct BlockingClient {
    client: Client,
    runtime: Runtime,
}

impl BlockingClient {
    /// A client with a runtime of its own.
    ///
    /// # Errors
    /// When the system refuses one.
    pub fn new(client: Client) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client, runtime })
    }

    /// See [`Client::status`].
    ///
    /// # Errors
    /// As there.
    pub fn status(&self) -> Result<StatusAnswer, ClientError> {
        self.runtime.block_on(self.client.status())
    }

    /// See [`Client::streams`].
    ///
    /// # Errors
    /// As there.
    pub fn streams(&self) -> Result<StreamsAnswer, ClientError> {
        self.runtime.block_on(self.client.streams())
    }

    /// See [`Client::tangle`].
    ///
    /// # Errors
    /// As there.
    pub fn tangle(&self, last: usize) -> Result<TangleAnswer, ClientError> {
        self.runtime.block_on(self.client.tangle(last))
    }

    /// See [`Client::peers`].
    ///
    /// # Errors
    /// As there.
    pub fn peers(&self) -> Result<PeersAnswer, ClientError> {
        self.runtime.block_on(self.client.peers())
    }

    /// See [`Client::evidence`].
    ///
    /// # Errors
    /// As there.
    pub fn evidence(&self) -> Result<EvidenceAnswer, ClientError> {
        self.runtime.block_on(self.client.evidence())
    }

    /// See [`Client::keys`].
    ///
    /// # Errors
    /// As there.
    pub fn keys(&self) -> Result<KeysAnswer, ClientError> {
        self.runtime.block_on(self.client.keys())
    }

    /// See [`Client::write`].
    ///
    /// # Errors
    /// See there.
    pub fn write(&self, stream: &str, value: &str, by: &str) -> Result<WriteAnswer, ClientError> {
        self.runtime.block_on(self.client.write(stream, value, by))
    }

    /// See [`Client::rotate`].
    ///
    /// # Errors
    /// As there.
    pub fn rotate(&self) -> Result<RotateAnswer, ClientError> {
        self.runtime.block_on(self.client.rotate())
    }

    /// See [`Client::prove`].
    ///
    /// # Errors
    /// As there.
    pub fn prove(&self, query: &ProofQuery) -> Result<ProofAnswer, ClientError> {
        self.runtime.block_on(self.client.prove(query))
    }

    /// See [`Client::segment`].
    ///
    /// # Errors
    /// As there.
    pub fn segment(&self, query: &SegmentQuery) -> Result<SegmentAnswer, ClientError> {
        self.runtime.block_on(self.client.segment(query))
    }

    /// See [`Client::readings`].
    ///
    /// # Errors
    /// As there.
    pub fn readings(&self, query: &ReadingsQuery) -> Result<BlockingLines<'_>, ClientError> {
        let lines = self.runtime.block_on(self.client.readings(query))?;
        Ok(BlockingLines { runtime: &self.runtime, lines })
    }
}

/// See [`Lines`].
#[derive(Debug)]
pub struct BlockingLines<'a> {
    runtime: &'a Runtime,
    lines: Lines,
}

impl Iterator for BlockingLines<'_> {
    type Item = Result<ReadingAnswer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.lines.next()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_percent_encoded() {
        let pairs = [
            ("stream", Some("tank/level µ&?".to_owned())),
            ("at", None),
            ("to", Some("2026-05-01T12:00:00Z".into())),
        ];
        assert_eq!(
            with_query("/p", pairs),
            "/p?stream=tank%2Flevel%20%C2%B5%26%3F&to=2026-05-01T12%3A00%3A00Z"
        );
        assert_eq!(with_query("/p", [("stream", None)]), "/p");
    }
}
