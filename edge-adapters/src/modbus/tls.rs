//! Modbus/TCP Security (MODBUS/TCP Security Protocol Specification): Modbus TCP in TLS, with certificates of both sides (feature
//! `modbus-tls`). The usual port is 802.
//!
//! The files are read at each connection, so a certificate that was renewed is used from then on without a restart.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::port::Stream;

/// Which certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities, one of which has signed the certificate of the device; or of that certificate
    /// itself.
    pub ca_file: PathBuf,
    /// PEM files of the gateway's own certificate, with the chain to its authority, and of its key. The specification
    /// wants them; some devices do without.
    pub own: Option<Own>,
    /// The name in the certificate of the device; that of the address if not given.
    pub server_name: Option<String>,
}

/// The gateway's own certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// PEM file of the certificate and its chain.
    pub certificate_file: PathBuf,
    /// PEM file of the key (PKCS #8, PKCS #1 or SEC 1).
    pub key_file: PathBuf,
}

/// What is wrong with the files, before anything is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key of the configuration.
    pub key: &'static str,
    /// What was found.
    pub found: String,
    /// What may stand there.
    pub expected: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.found)
    }
}

impl Tls {
    /// In words, for comparing two devices on one line. Names files, never what they hold.
    pub(crate) fn terms(&self) -> String {
        let mut terms = vec![format!("ca_file {}", self.ca_file.display())];
        if let Some(own) = &self.own {
            terms.push(format!("certificate_file {}", own.certificate_file.display()));
            terms.push(format!("key_file {}", own.key_file.display()));
        }
        terms.extend(self.server_name.iter().map(|name| format!("server_name {name}")));
        terms.join(", ")
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Which of them is missing, or holds something else.
    pub fn check(&self) -> Result<(), Wrong> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<ClientConfig, Wrong> {
        let wrong = |key, file: &PathBuf, why: &dyn fmt::Display| Wrong {
            key,
            found: format!("{}: {why}", file.display()),
            expected: "a PEM file that this program may read, with what the key says",
        };
        let certificates = |key, file: &PathBuf| -> Result<Vec<CertificateDer<'static>>, Wrong> {
            let all = CertificateDer::pem_file_iter(file).map_err(|why| wrong(key, file, &why))?;
            let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|why| wrong(key, file, &why))?;
            if all.is_empty() {
                return Err(wrong(key, file, &"no certificate"));
            }
            Ok(all)
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca_file", &self.ca_file)? {
            roots.add(certificate).map_err(|why| wrong("ca_file", &self.ca_file, &why))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| wrong("ca_file", &self.ca_file, &why))?
            .with_root_certificates(roots);
        let Some(own) = &self.own else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates("certificate_file", &own.certificate_file)?;
        let key = PrivateKeyDer::from_pem_file(&own.key_file)
            .map_err(|why| wrong("key_file", &own.key_file, &why))?;
        builder.with_client_auth_cert(chain, key).map_err(|why| wrong("key_file", &own.key_file, &why))
    }

    pub(crate) async fn connect(
        self: &Arc<Self>,
        address: &str,
        stream: TcpStream,
    ) -> io::Result<Box<dyn Stream>> {
        let tls = Arc::clone(self);
        // Files are read on a thread that may block.
        let config = tokio::task::spawn_blocking(move || tls.read()).await.map_err(io::Error::other)?;
        let config = config.map_err(|wrong| io::Error::other(wrong.to_string()))?;
        let name = self.server_name.as_deref().unwrap_or_else(|| host(address)).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}

/// `[fd00::7]:802` is `fd00::7`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
