//! The socket file: one per data folder, for its owner only.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Longest path of a Unix socket on Linux, in bytes (`sun_path` without its terminating zero).
pub const PATH_BYTES_MAX: usize = 107;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The path is too long for the kernel.
    #[error(
        "the socket's path {} has {} bytes, but the system allows {PATH_BYTES_MAX}; move the data folder to a shorter \
         path, or enter it and use `--data .`",
        path.display(), path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody answers there.
    #[error("a node answers on {} already; stop it first, or take another data folder", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("{} is no socket; move it away: a node makes its socket there", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} the socket {}: {why}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
}

/// Is the path short enough for the kernel?
///
/// # Errors
/// When it is not, in words.
pub fn check_path(path: &Path) -> Result<(), SocketError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(SocketError::PathTooLong { path: path.to_owned() });
    }
    Ok(())
}

/// Makes the socket file with mode 0600. One that a node left behind is removed, but only when nobody listens.
///
/// # Errors
/// When the path is too long, somebody answers there, something else has that name, or the system refuses.
pub async fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    check_path(path)?;
    let io = |what| move |why| SocketError::Io { what, path: path.to_owned(), why };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path).await {
            Ok(_) => return Err(SocketError::InUse { path: path.to_owned() }),
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(io("remove what is left of"))?;
            }
            Err(why) => return Err(io("try")(why)),
        },
        Ok(_) => return Err(SocketError::NotASocket { path: path.to_owned() }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(io("look at")(why)),
    }
    let listener = UnixListener::bind(path).map_err(io("make"))?;
    // Until here others may connect; `may_ask` turns them away.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io("restrict"))?;
    Ok(listener)
}

/// Is the one at the other end this user, or root?
pub(super) fn may_ask(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Removes the socket file of a listener that is about to end.
pub(super) fn remove(listener: &UnixListener) {
    if let Ok(address) = listener.local_addr()
        && let Some(path) = address.as_pathname()
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        // The next start removes it.
        tracing::warn!(%error, path = %path.display(), "the socket file could not be removed");
    }
}
