//! TLS to a device or a broker: rustls with aws-lc-rs, 1.2 and 1.3.
//!
//! All files are read at each connection, so a certificate that was renewed is taken with the next one, without a restart.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore};

use crate::secret::{self, SecretFile};

/// Authorities that the system trusts, where the configuration names none (Debian and those after it).
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A bundle of authorities is at most this long: Debian's has 220 kB.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;

/// How to know the other end, and how to be known by it.
#[cfg_attr(not(feature = "modbus-tls"), expect(unreachable_pub, reason = "a transport of Modbus shows it"))]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates, PEM, of the authorities that are trusted; `None`: those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// This client's certificate, PEM, with those between it and its authority; and its key.
    pub(crate) identity: Option<(PathBuf, SecretFile)>,
    /// The name that the other end's certificate must have; `None`: its host.
    pub(crate) server_name: Option<String>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .with_root_certificates(self.authorities()?);
        let Some((certificate_file, key_file)) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = self.own_certificates()?;
        let key_path = key_file.path()?;
        let key = PrivateKeyDer::from_pem_slice(key_file.read()?.bytes()).map_err(|_| {
            format!(
                "{}: no private key in PEM that can be read; one with a passphrase cannot, take that off with \
                 `openssl pkey -in FILE -out FILE`",
                key_path.display()
            )
        })?;
        let config = builder.with_client_auth_cert(chain, key).map_err(|error| {
            format!("{} and {} do not go together: {error}", certificate_file.display(), key_path.display())
        })?;
        Ok(Arc::new(config))
    }

    /// Who is trusted.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn authorities(&self) -> Result<RootCertStore, String> {
        let path = self.ca_file.as_deref().unwrap_or(Path::new(SYSTEM_AUTHORITIES));
        let mut store = RootCertStore::empty();
        // The system's bundle may hold one that is of no use; of one's own file each must be.
        let (_, unusable) = store.add_parsable_certificates(certificates(path, AUTHORITIES_BYTES_MAX)?);
        if store.is_empty() || (self.ca_file.is_some() && unusable > 0) {
            return Err(format!("{}: holds a certificate that is no authority's", path.display()));
        }
        Ok(store)
    }

    /// This client's certificate, with those between it and its authority; nothing where it has none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn own_certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let Some((file, _)) = &self.identity else { return Ok(Vec::new()) };
        certificates(file, secret::SECRET_BYTES_MAX)
    }

    /// The name to check, and to ask for.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is no name that a certificate could have; set server_name"))
    }

    /// Secrets that others may read: a warning for each.
    pub(crate) fn exposed(&self) -> Option<String> {
        self.identity.as_ref().and_then(|(_, key)| key.exposed())
    }
}

fn certificates(path: &Path, bytes_max: u64) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let length = std::fs::metadata(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?.len();
    if length > bytes_max {
        return Err(wrong(&format!("has more than {bytes_max} bytes")));
    }
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    let all = all.map_err(|error| wrong(&format!("no certificates in PEM: {error}")))?;
    if all.is_empty() { Err(wrong(&"holds no certificate in PEM")) } else { Ok(all) }
}

/// What TLS says went wrong, with what to do; `None`: it was not TLS.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let mut why = format!("TLS: {inner}");
    if let Some(advice) = advice(inner) {
        // Writing to a text cannot fail.
        let _ = write!(why, "; {advice}");
    }
    Some(why)
}

fn advice(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error;
    Some(match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired (or this machine's clock is wrong): renew it there"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "this machine's clock is behind, or the server's certificate is for later"
            }
            CertificateError::UnknownIssuer => {
                "no authority that is trusted has signed the server's certificate: put its authority's certificate into ca_file"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: use that name in address, or set server_name to it"
            }
            _ => "the server's certificate is of no use",
        },
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "that port does not speak TLS: another port, or no tls table",
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the server wants a certificate of this client: set certificate_file and key_file"
            }
            AlertDescription::UnknownCA | AlertDescription::BadCertificate => {
                "the server does not trust this client's certificate: have it signed by an authority that the server trusts"
            }
            AlertDescription::CertificateExpired => {
                "this client's certificate has expired: renew certificate_file"
            }
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
                "the server offers nothing that is still safe, or wants a certificate of this client"
            }
            _ => return None,
        },
        _ => return None,
    })
}
