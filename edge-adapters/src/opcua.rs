//! OPC-UA, as a client (OPC 10000).

pub(crate) mod link;
pub mod node_id;
pub mod pki;
pub mod security;
pub(crate) mod session;
pub mod value;

use opcua::types::status_code::SubStatusCode;

/// A server's status code in words.
pub(crate) fn status_words(status: u32) -> String {
    match SubStatusCode::from_value(status & 0xFFFF_0000) {
        Some(code) => format!("{}:{}", code.name(), code.description().trim_end_matches('.')),
        None => format!("status {status:#010x}"),
    }
}
