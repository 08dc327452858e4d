//! One function for each question. Reading the store is slow work: it is done on threads for that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::{Bytes, Frame};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{ApiState, PROOF_HEADER, WAIT_MAX, WireError};
use crate::answers::prove::ProofQuery;
use crate::answers::readings::{ReadingsAnswer, ReadingsQuery};
use crate::answers::segment::SegmentQuery;
use crate::answers::write::WriteAnswer;
use crate::answers::{Answers, AskError, Time};

/// Readings are sent in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that may wait for the one who asked.
const PIECES_MAX: usize = 4;
/// One who takes no piece for so long is left: what it keeps open cannot be recycled.
const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// Transactions when nobody says how many.
pub(crate) const TANGLE_LAST: usize = 20;

pub(super) fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v0/status", get(status))
        .route("/v0/streams", get(streams))
        .route("/v0/readings", get(readings))
        .route("/v0/proof", get(proof))
        .route("/v0/segment", get(segment))
        .route("/v0/tangle", get(tangle))
        .route("/v0/peers", get(peers))
        .route("/v0/evidence", get(evidence))
        .route("/v0/keys", get(keys))
        .route("/v0/rotate", post(rotate))
        .route("/v0/write", post(write))
        .fallback(unknown)
        .method_not_allowed_fallback(only_get)
        .layer(middleware::from_fn(no_body))
        .with_state(state)
}

impl IntoResponse for WireError {
    fn into_response(self) -> Response {
        let status = match self.error.reason {
            AskError::NoSuchStream { .. } | AskError::NoReading { .. } => StatusCode::NOT_FOUND,
            AskError::NotInTransaction { .. } | AskError::Refused { .. } => StatusCode::CONFLICT,
            AskError::Malformed { .. } => StatusCode::BAD_REQUEST,
            AskError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            AskError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, axum::Json(self)).into_response()
    }
}

impl IntoResponse for AskError {
    fn into_response(self) -> Response {
        WireError::from(self).into_response()
    }
}

fn malformed(status: StatusCode, what: String) -> Response {
    (status, axum::Json(WireError::from(AskError::Malformed { what }))).into_response()
}

async fn unknown(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(64).collect();
    let what = format!(
        "nothing answers to {path:?}; expected /v0/status, /v0/streams, /v0/readings, /v0/proof, \
         /v0/segment, /v0/tangle, /v0/peers, /v0/evidence or /v0/keys, or POST /v0/rotate or /v0/write"
    );
    malformed(StatusCode::NOT_FOUND, what)
}

async fn only_get() -> Response {
    malformed(
        StatusCode::METHOD_NOT_ALLOWED,
        "this API answers questions; expected GET (and POST for /v0/rotate and /v0/write only)".into(),
    )
}

/// A question has no body; one that claims to have one is not read.
async fn no_body(request: Request, next: Next) -> Response {
    let headers: &HeaderMap = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    if headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|l| l.as_bytes() != b"0") {
        let mut refused =
            malformed(StatusCode::PAYLOAD_TOO_LARGE, "a question has no body; send none".into());
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return refused;
    }
    next.run(request).await
}

impl ApiState {
    fn answers(&self) -> Answers {
        let live = Some(self.live.borrow().clone());
        Answers { reader: self.reader.clone(), facts: self.facts.clone(), live }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, AskError> {
        let turn = self.questions.clone().acquire_owned();
        match tokio::time::timeout(WAIT_MAX, turn).await {
            Ok(turn) => Ok(turn.expect("the semaphore is never closed")),
            Err(_) => Err(AskError::Busy { seconds: WAIT_MAX.as_secs() }),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Answers) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, AskError> {
        let turn = self.turn().await?;
        let answers = self.answers();
        let worked = tokio::task::spawn_blocking(move || {
            let answer = question(&answers);
            drop(turn);
            answer
        });
        worked.await.unwrap_or_else(|why| Err(AskError::Store { why: format!("the question failed: {why}") }))
    }
}

fn json<T: Serialize>(answer: Result<T, AskError>) -> Response {
    match answer {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(why) => why.into_response(),
    }
}

/// The query, or what is wrong with it.
fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, AskError> {
    query.map(|Query(query)| query).map_err(|why| AskError::Malformed { what: why.body_text() })
}

async fn status(State(state): State<ApiState>) -> Response {
    json(state.ask(|answers| answers.status(Time::now())).await)
}

async fn streams(State(state): State<ApiState>) -> Response {
    json(state.ask(|answers| answers.streams(Time::now())).await)
}

async fn peers(State(state): State<ApiState>) -> Response {
    json(state.ask(|answers| answers.peers(Time::now())).await)
}

async fn evidence(State(state): State<ApiState>) -> Response {
    json(state.ask(|answers| answers.evidence(Time::now())).await)
}

async fn keys(State(state): State<ApiState>) -> Response {
    json(state.ask(|answers| answers.keys(Time::now())).await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteQuery {
    stream: String,
    /// As JSON.
    value: String,
    by: String,
}

/// Goes on when whoever asked is gone.
async fn write(
    State(state): State<ApiState>,
    asked: Result<Query<WriteQuery>, QueryRejection>,
) -> Result<Response, AskError> {
    let WriteQuery { stream, value, by } = query(asked)?;
    let refused = |why: String| AskError::Refused { why };
    let desk = state.desk.clone().ok_or_else(|| refused("this node writes to no machine".into()))?;
    let value = crate::answers::write::value_of(&value).ok_or_else(|| AskError::Malformed {
        what: format!("{value:?} is no number, text, true or false"),
    })?;
    let attempt = tokio::spawn(async move { desk.write(&stream, value, &by).await }).await;
    let attempt = attempt.map_err(|why| AskError::Store { why: format!("the write failed: {why}") })?;
    Ok(json(Ok(WriteAnswer::from(attempt.map_err(|why| refused(why.to_string()))?))))
}

/// Gives the gateway its next key. It goes on when whoever asked is gone.
async fn rotate(State(state): State<ApiState>) -> Response {
    let Some(rotator) = state.rotator.clone() else {
        let why = "this node cannot be asked for another key".to_owned();
        return AskError::Refused { why }.into_response();
    };
    let rotated = tokio::spawn(rotator.rotate());
    json(
        rotated
            .await
            .unwrap_or_else(|why| Err(AskError::Store { why: format!("the rotation failed: {why}") })),
    )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TangleQuery {
    last: Option<usize>,
}

async fn tangle(
    State(state): State<ApiState>,
    asked: Result<Query<TangleQuery>, QueryRejection>,
) -> Result<Response, AskError> {
    let last = query(asked)?.last.unwrap_or(TANGLE_LAST);
    Ok(json(state.ask(move |answers| answers.tangle(Time::now(), last)).await))
}

async fn proof(
    State(state): State<ApiState>,
    asked: Result<Query<ProofQuery>, QueryRejection>,
) -> Result<Response, AskError> {
    let asked = query(asked)?;
    let answer = state.ask(move |answers| answers.prove(&asked)).await?;
    let about =
        serde_json::to_string(&answer.about).map_err(|why| AskError::Store { why: why.to_string() })?;
    let about = HeaderValue::from_str(&about).map_err(|why| AskError::Store { why: why.to_string() })?;
    let mut response = Body::from(answer.bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(PROOF_HEADER, about);
    Ok(response)
}

async fn segment(
    State(state): State<ApiState>,
    asked: Result<Query<SegmentQuery>, QueryRejection>,
) -> Result<Response, AskError> {
    let asked = query(asked)?;
    Ok(json(state.ask(move |answers| answers.segment(&asked)).await))
}

/// Sends readings while they are read.
async fn readings(
    State(state): State<ApiState>,
    asked: Result<Query<ReadingsQuery>, QueryRejection>,
) -> Result<Response, AskError> {
    let asked = query(asked)?;
    let turn = state.turn().await?;
    let answers = state.answers();
    let (begun, begins) = oneshot::channel();
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        match answers.readings(&asked) {
            Ok(readings) => {
                // Whoever asked may be gone; then the first piece finds nobody.
                let _ = begun.send(Ok(()));
                send(readings, &Pieces { runtime, pieces });
            }
            Err(why) => drop(begun.send(Err(why))),
        }
        drop(turn);
    });
    begins.await.map_err(|_| AskError::Store { why: "the question failed".into() })??;
    let mut response = Body::new(Lines(taken)).into_response();
    let lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, lines);
    Ok(response)
}

struct Pieces {
    runtime: tokio::runtime::Handle,
    pieces: mpsc::Sender<Piece>,
}

/// A part of an answer, or its end: an answer that breaks off must not look like a whole one.
enum Piece {
    Part(Bytes),
    End,
}

impl Pieces {
    /// `false`: nobody takes it.
    fn send(&self, piece: Piece) -> bool {
        let sent = async { tokio::time::timeout(TAKE_WITHIN, self.pieces.send(piece)).await };
        matches!(self.runtime.block_on(sent), Ok(Ok(())))
    }
}

fn send(readings: ReadingsAnswer, pieces: &Pieces) {
    let mut piece = Vec::with_capacity(PIECE_BYTES + 4 * 1024);
    for reading in readings {
        let is_over = reading.is_err();
        let line = match reading {
            Ok(reading) => serde_json::to_writer(&mut piece, &reading),
            Err(why) => serde_json::to_writer(&mut piece, &WireError::from(why)),
        };
        line.expect("answers are made of what JSON can hold, and memory takes all of it");
        piece.push(b'\n');
        if is_over {
            break;
        }
        if piece.len() >= PIECE_BYTES && !pieces.send(Piece::Part(std::mem::take(&mut piece).into())) {
            return;
        }
    }
    if pieces.send(Piece::Part(piece.into())) {
        pieces.send(Piece::End);
    }
}

/// The body of an answer that is still being made.
struct Lines(mpsc::Receiver<Piece>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| match piece {
            Some(Piece::Part(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => None,
            None => Some(Err(io::Error::other("the answer broke off"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_whole_answer() {
        for is_whole in [true, false] {
            let (pieces, taken) = mpsc::channel(PIECES_MAX);
            pieces.send(Piece::Part(Bytes::from_static(b"line\n"))).await.ok().unwrap();
            if is_whole {
                pieces.send(Piece::End).await.ok().unwrap();
            }
            drop(pieces);
            assert_eq!(Lines(taken).collect().await.is_ok(), is_whole);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_half_way_is_the_last_line() {
        let (pieces, taken) = mpsc::channel(PIECES_MAX);
        let runtime = tokio::runtime::Handle::current();
        let why = || AskError::Store { why: "the disk is gone".into() };
        let readings: ReadingsAnswer = Box::new([Err(why()), Err(why())].into_iter());
        tokio::task::spawn_blocking(move || send(readings, &Pieces { runtime, pieces })).await.unwrap();
        let body = Lines(taken).collect().await.unwrap().to_bytes();
        let lines: Vec<_> = body.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 1, "nothing after an error: a gap must not go unseen");
        assert_eq!(serde_json::from_slice::<WireError>(lines[0]).unwrap().error.reason, why());
    }
}
