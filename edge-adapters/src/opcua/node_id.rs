//! Names of nodes as a configuration writes them, and what they mean on a server at this moment. Pure.
//!
//! A server gives its namespaces numbers anew at each start, in whatever order its parts come up. So `nsu=` with the
//! namespace's own name is what a configuration should hold: the number is looked up in the server's `NamespaceArray`
//! at each connection. `ns=` is taken as it is.
//!
//! ```text
//! nsu=http://example.com/filler/;s=Tank.Level     ns=2;i=1001     i=2258     ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a
//! ```
//! (OPC 10000-6, 5.1.12 and 5.1.13: in a URI, `;` is written `%3B` and `%` is written `%25`.)

use std::fmt;
use std::str::FromStr;

use opcua::types::{ByteString, Guid, Identifier, NodeId, UAString};
use thiserror::Error;

/// Longest string identifier and namespace name (OPC 10000-3, 8.2.4).
pub const IDENTIFIER_CHARS_MAX: usize = 4_096;

/// Which namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// By its number on the server.
    Index(u16),
    /// By its name.
    Uri(String),
}

/// A node as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name there.
    pub identifier: Identifier,
}

/// Why a text is no node, or names none on this server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeNameError {
    /// No identifier, or one of an unknown kind.
    #[error("no identifier i=NUMBER, s=TEXT, g=GUID or b=BASE64 after the namespace")]
    NoIdentifier,
    /// A namespace without what follows it.
    #[error("no `;` after the namespace")]
    NoSemicolon,
    /// `ns=` with something else than a number.
    #[error("ns= is followed by a number from 0 to 65535")]
    Index,
    /// `nsu=` with nothing, too much, or with an escape that is none.
    #[error(
        "nsu= is followed by the name of a namespace of 1 to 4096 characters, with `;` as %3B and `%` as %25"
    )]
    Uri,
    /// `i=` with something else than a number.
    #[error("i= is followed by a number from 0 to 4294967295")]
    Numeric,
    /// `s=` with nothing or too much.
    #[error("s= is followed by 1 to 4096 characters")]
    Text,
    /// `g=` with something else than a GUID.
    #[error("g= is followed by a GUID such as 09087e75-8e5e-499b-954f-f2a9603db28a")]
    Guid,
    /// `b=` with something else than base64.
    #[error("b= is followed by bytes in base64")]
    Bytes,
    /// A server other than the one that is asked.
    #[error("svr= names a node of another server, which this one cannot read")]
    Server,
    /// The server has no namespace of this name.
    #[error("the server has no namespace {0:?}")]
    NoNamespace(String),
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        if text.starts_with("svr=") {
            return Err(NodeNameError::Server);
        }
        let (namespace, rest) = if let Some(rest) = text.strip_prefix("nsu=") {
            let (uri, rest) = rest.split_once(';').ok_or(NodeNameError::NoSemicolon)?;
            (Namespace::Uri(unescaped(uri).ok_or(NodeNameError::Uri)?), rest)
        } else if let Some(rest) = text.strip_prefix("ns=") {
            let (index, rest) = rest.split_once(';').ok_or(NodeNameError::NoSemicolon)?;
            (Namespace::Index(number(index).ok_or(NodeNameError::Index)?), rest)
        } else {
            (Namespace::Index(0), text)
        };
        Ok(Self { namespace, identifier: identifier(rest)? })
    }
}

fn identifier(text: &str) -> Result<Identifier, NodeNameError> {
    let (kind, rest) = text.split_once('=').ok_or(NodeNameError::NoIdentifier)?;
    match kind {
        "i" => number(rest).map(Identifier::Numeric).ok_or(NodeNameError::Numeric),
        "s" if (1..=IDENTIFIER_CHARS_MAX).contains(&rest.chars().count()) => {
            Ok(Identifier::String(UAString::from(rest)))
        }
        "s" => Err(NodeNameError::Text),
        "g" => Guid::from_str(rest).map(Identifier::Guid).map_err(|_| NodeNameError::Guid),
        "b" if rest.len() <= IDENTIFIER_CHARS_MAX => {
            ByteString::from_base64(rest).map(Identifier::ByteString).ok_or(NodeNameError::Bytes)
        }
        "b" => Err(NodeNameError::Bytes),
        _ => Err(NodeNameError::NoIdentifier),
    }
}

/// Digits only: `+7` is none.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn unescaped(uri: &str) -> Option<String> {
    let mut plain = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after.get(..2)?;
        plain.push(match code {
            "25" => '%',
            "3B" | "3b" => ';',
            // Names with other escapes exist as they are: they were never decoded by anybody.
            _ if code.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                plain.push('%');
                plain.push_str(code);
                rest = &after[2..];
                continue;
            }
            _ => return None,
        });
        rest = &after[2..];
    }
    plain.push_str(rest);
    (1..=IDENTIFIER_CHARS_MAX).contains(&plain.chars().count()).then_some(plain)
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Namespace::Index(0) => {}
            Namespace::Index(index) => write!(f, "ns={index};")?,
            Namespace::Uri(uri) => write!(f, "nsu={};", uri.replace('%', "%25").replace(';', "%3B"))?,
        }
        write!(f, "{}", self.identifier)
    }
}

impl NodeName {
    /// The node on a server that has these namespaces, the first with the number 0.
    ///
    /// # Errors
    /// When it has no namespace of this name.
    pub fn resolve(&self, namespaces: &[String]) -> Result<NodeId, NodeNameError> {
        let index = match &self.namespace {
            Namespace::Index(index) => *index,
            Namespace::Uri(uri) => namespaces
                .iter()
                .position(|name| name == uri)
                .and_then(|index| u16::try_from(index).ok())
                .ok_or_else(|| NodeNameError::NoNamespace(uri.clone()))?,
        };
        Ok(NodeId { namespace: index, identifier: self.identifier.clone() })
    }
}
