//! Modbus/TCP Security (MODBUS/TCP Security Protocol Specification): Modbus TCP in TLS, with certificates of both sides (feature
//! `modbus-tls`). The usual port is 802.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::port::Stream;
use crate::tls::{Tls, explain};

/// In words, for comparing two devices on one line. Names files, never what they hold.
pub(crate) fn terms(tls: &Tls) -> String {
    let mut terms: Vec<String> =
        tls.ca_file.iter().map(|file| format!("ca_file {}", file.display())).collect();
    if let Some((certificate, key)) = &tls.identity {
        terms.push(format!("certificate_file {}", certificate.display()));
        terms.push(format!("key_file {key}"));
    }
    terms.extend(tls.server_name.iter().map(|name| format!("server_name {name}")));
    terms.join(", ")
}

/// Speaks TLS over a connection to this address, with the files as they are now.
pub(crate) async fn connect(tls: &Arc<Tls>, address: &str, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    // Files are read on a thread that may block.
    let config = tokio::task::spawn_blocking({
        let tls = Arc::clone(tls);
        move || tls.load()
    });
    let config = config.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let name = tls.name(host(address)).map_err(io::Error::other)?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(explain(&error).map_or(error, io::Error::other)),
    }
}

/// `[fd00::7]:802` is `fd00::7`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
