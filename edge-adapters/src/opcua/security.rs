//! What protects the connection, and who this side says it is. Nothing here shows a secret.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use opcua::client::{IdentityToken, Password};
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy};
use opcua::types::{EndpointDescription, MessageSecurityMode, UserTokenPolicy, UserTokenType};

use crate::adapter::{Fault, FaultKind};
use crate::secret::SecretFile;

/// Which algorithms (OPC 10000-7, 6.6). Deprecated ones (Basic128Rsa15, Basic256) are not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is signed, nothing encrypted.
    None,
    /// `Basic256Sha256`.
    Basic256Sha256,
    /// `Aes128_Sha256_RsaOaep`.
    Aes128Sha256RsaOaep,
    /// `Aes256_Sha256_RsaPss`.
    Aes256Sha256RsaPss,
}

/// What the algorithms are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    None,
    /// Messages are signed: nobody changes them, everybody reads them.
    Sign,
    /// Messages are signed and encrypted.
    SignAndEncrypt,
}

/// Policy and mode. What is configured is used, or there is no connection: never less, never another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Security {
    /// Which algorithms.
    pub policy: Policy,
    /// What for.
    pub mode: Mode,
}

/// What may be configured, as it is written.
pub const SECURITIES: [(&str, Security); 7] = [
    ("None", Security { policy: Policy::None, mode: Mode::None }),
    ("Basic256Sha256/Sign", Security { policy: Policy::Basic256Sha256, mode: Mode::Sign }),
    (
        "Basic256Sha256/SignAndEncrypt",
        Security { policy: Policy::Basic256Sha256, mode: Mode::SignAndEncrypt },
    ),
    ("Aes128_Sha256_RsaOaep/Sign", Security { policy: Policy::Aes128Sha256RsaOaep, mode: Mode::Sign }),
    (
        "Aes128_Sha256_RsaOaep/SignAndEncrypt",
        Security { policy: Policy::Aes128Sha256RsaOaep, mode: Mode::SignAndEncrypt },
    ),
    ("Aes256_Sha256_RsaPss/Sign", Security { policy: Policy::Aes256Sha256RsaPss, mode: Mode::Sign }),
    (
        "Aes256_Sha256_RsaPss/SignAndEncrypt",
        Security { policy: Policy::Aes256Sha256RsaPss, mode: Mode::SignAndEncrypt },
    ),
];

impl FromStr for Security {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        SECURITIES.iter().find(|(name, _)| *name == text).map(|(_, security)| *security).ok_or(())
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECURITIES.iter().find(|(_, security)| security == self).map_or("None", |(name, _)| name))
    }
}

impl Security {
    /// No protection.
    pub const NONE: Self = Self { policy: Policy::None, mode: Mode::None };

    /// Does it need certificates?
    pub const fn is_secured(self) -> bool {
        !matches!(self.policy, Policy::None)
    }

    pub(crate) const fn library_policy(self) -> SecurityPolicy {
        match self.policy {
            Policy::None => SecurityPolicy::None,
            Policy::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
            Policy::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
            Policy::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
        }
    }

    pub(crate) const fn library_mode(self) -> MessageSecurityMode {
        match self.mode {
            Mode::None => MessageSecurityMode::None,
            Mode::Sign => MessageSecurityMode::Sign,
            Mode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
        }
    }

    /// Is this the endpoint of a server that has exactly this protection?
    pub(crate) fn is_of(self, endpoint: &EndpointDescription) -> bool {
        endpoint.security_mode == self.library_mode()
            && endpoint.security_policy_uri.as_ref() == self.library_policy().to_uri()
    }
}

/// Who this side says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum User {
    /// Nobody.
    Anonymous,
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: SecretFile,
        /// May it travel without encryption?
        plain: bool,
    },
    /// A certificate of a user, not of this application.
    Certificate {
        /// DER or PEM.
        certificate: PathBuf,
        /// PEM.
        key: SecretFile,
    },
}

impl User {
    /// What to do where others may read its secret; `None`: it is kept well, or there is none.
    pub(crate) fn exposed(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Password { password: secret, .. } | Self::Certificate { key: secret, .. } => {
                secret.exposed()
            }
        }
    }

    pub(crate) const fn token_type(&self) -> UserTokenType {
        match self {
            Self::Anonymous => UserTokenType::Anonymous,
            Self::Password { .. } => UserTokenType::UserName,
            Self::Certificate { .. } => UserTokenType::Certificate,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Password { .. } => "user and password",
            Self::Certificate { .. } => "a user's certificate",
        }
    }

    /// The proof of identity, for a session on this endpoint, whose list of token policies is cut to the one that is
    /// used: the library takes the first of its kind.
    pub(crate) fn identity(
        &self,
        security: Security,
        endpoint: &mut EndpointDescription,
    ) -> Result<IdentityToken, Fault> {
        let all = endpoint.user_identity_tokens.take().unwrap_or_default();
        let offered: Vec<&str> = all.iter().map(|policy| token_name(policy.token_type)).collect();
        let ours: Vec<&UserTokenPolicy> =
            all.iter().filter(|policy| policy.token_type == self.token_type()).collect();
        // The strongest of those that may be used: an encrypted password before a plain one.
        let chosen = ours.iter().find(|policy| protects(security, policy)).or(ours.first());
        let Some(&chosen) = chosen else {
            let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
            return Err(wrong(format!(
                "the server does not take {} on {security}; it takes {offered}",
                self.name()
            )));
        };
        let is_plain = !protects(security, chosen) && security.mode != Mode::SignAndEncrypt;
        let mut chosen = chosen.clone();
        if matches!(self, Self::Certificate { .. }) && chosen.security_policy_uri.is_empty() {
            // Without one of its own it has the endpoint's (OPC 10000-4, 7.42). The library would sign nothing.
            chosen.security_policy_uri = endpoint.security_policy_uri.clone();
        }
        endpoint.user_identity_tokens = Some(vec![chosen]);
        match self {
            Self::Anonymous => Ok(IdentityToken::Anonymous),
            Self::Password { plain: false, .. } if is_plain => Err(wrong(format!(
                "the password would travel for everybody to read: the server asks for no encryption of it on {security}; \
                 take a security with SignAndEncrypt, or say plain_password = true"
            ))),
            Self::Password { name, password, .. } => {
                Ok(IdentityToken::UserName(name.clone(), Password::new(read(password)?)))
            }
            Self::Certificate { certificate, key } => {
                let certificate = CertificateStore::read_cert(certificate)
                    .map_err(|why| wrong(format!("user_certificate: {why}")))?;
                let key = read_key(key).map_err(|why| wrong(format!("user_key: {why}")))?;
                Ok(IdentityToken::new_x509(certificate, key))
            }
        }
    }
}

/// The password in a file, which is read at each connection, so that a new one needs no restart.
fn read(file: &SecretFile) -> Result<String, Fault> {
    let secret = file.read().map_err(|why| wrong(format!("password_file: {why}")))?;
    let text = std::str::from_utf8(secret.line());
    text.map(str::to_owned).map_err(|_| wrong("password_file: not UTF-8, as OPC-UA passwords are".to_owned()))
}

/// The key in a file, which is read at each connection too.
fn read_key(file: &SecretFile) -> Result<PrivateKey, String> {
    let path = file.path()?;
    // The library says of each mistake that it cannot read the file.
    crate::secret::read(&path)?;
    CertificateStore::read_pkey(&path).map_err(|_| format!("{}: no private key in PEM form", path.display()))
}

/// Is a secret encrypted by itself under this token policy (OPC 10000-4, 7.42)?
fn protects(security: Security, policy: &UserTokenPolicy) -> bool {
    match policy.security_policy_uri.as_ref() {
        "" => security.is_secured(),
        uri => {
            SECURITIES.iter().any(|(_, known)| known.is_secured() && known.library_policy().to_uri() == uri)
        }
    }
}

const fn token_name(kind: UserTokenType) -> &'static str {
    match kind {
        UserTokenType::Anonymous => "anonymous",
        UserTokenType::UserName => "user and password",
        UserTokenType::Certificate => "a user's certificate",
        UserTokenType::IssuedToken => "an issued token",
    }
}

/// Something here, or on the server, must be set right by a person.
pub(crate) fn wrong(detail: String) -> Fault {
    Fault::new(FaultKind::Refused(opcua::types::StatusCode::BadSecurityChecksFailed.bits()), detail)
}
