//! Both ends of a redemption over a pair of byte streams: each message is a length (u32, little-endian), checked before
//! anything is allocated, and so many bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::desk::{Desk, Guest};
use super::exchange::{
    ANSWER_BYTES_MAX, Answer, EXPORTER_BYTES, JoinError, Joined, REDEEM_BYTES_MAX, Refusal, accept, redeem,
};
use super::line::Line;

/// A guest has so long for its message, and again for taking the answer: a slow one holds a place at the desk.
pub const GUEST_WITHIN: Duration = Duration::from_secs(10);
/// A joiner waits so long for its answer. The member writes durably to a card in between.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Reads one message of at most `bytes_max` bytes.
async fn read_message<R: AsyncRead + Unpin>(read: &mut R, bytes_max: usize) -> io::Result<Vec<u8>> {
    let length = read.read_u32_le().await?;
    if length as usize > bytes_max {
        let what = format!("a message of {length} bytes, expected at most {bytes_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // Grows with what comes, not with what is claimed.
    let mut message = Vec::new();
    read.take(u64::from(length)).read_to_end(&mut message).await?;
    if message.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

async fn write_message<W: AsyncWrite + Unpin>(write: &mut W, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    write.write_all(&length.to_le_bytes()).await?;
    write.write_all(message).await?;
    write.flush().await
}

/// The member's end: takes a guest's message, decides, answers. Returns what was answered.
///
/// # Errors
/// When the connection broke, or the guest was too slow or said too much. A redemption that was decided stands all the
/// same.
pub async fn serve<R, W>(
    read: &mut R,
    write: &mut W,
    desk: Arc<Desk>,
    guest: Guest,
    addresses: Vec<String>,
    now_s: u64,
) -> io::Result<Answer>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let message = within(read_message(read, REDEEM_BYTES_MAX)).await;
    let answer = match message {
        Ok(message) => {
            let decided =
                tokio::task::spawn_blocking(move || desk.redeem(&message, &guest, &addresses, now_s));
            decided.await.map_err(io::Error::other)?
        }
        // Said in words before the connection closes.
        Err(why) if why.kind() == io::ErrorKind::InvalidData => {
            Answer { version: 0, outcome: Err(Refusal::Malformed) }
        }
        Err(why) => return Err(why),
    };
    within(write_message(write, &codec::encode(&answer))).await?;
    Ok(answer)
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(GUEST_WITHIN, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The joiner's end: redeems a line for this key, which is the one of the connection. The same call with the same key
/// may be made again after any failure.
///
/// # Errors
/// See [`JoinError`].
pub async fn join<R, W>(
    read: &mut R,
    write: &mut W,
    exporter: &[u8; EXPORTER_BYTES],
    line: &Line,
    key: PublicKey,
    name: Option<String>,
) -> Result<Joined, JoinError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let asked = redeem(line, key, name, exporter);
    let exchange = async {
        let connection = |what| move |why| JoinError::Connection { what, why };
        let sent = write_message(write, &codec::encode(&asked)).await;
        sent.map_err(connection("the invitation could not be sent"))?;
        let answer = read_message(read, ANSWER_BYTES_MAX).await;
        answer.map_err(connection("the connection broke before the answer came; try the same command again"))
    };
    let answer = timeout(ANSWER_WITHIN, exchange).await.map_err(|_| JoinError::TooSlow(ANSWER_WITHIN))??;
    accept(line, &asked, exporter, &answer)
}
