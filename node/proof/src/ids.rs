//! Ids as people see them.

use selvedge_crypto::ids::{TextId, to_text};
use serde::Serializer;

pub(crate) fn text<T: TextId + Copy>(id: T) -> String {
    to_text(&id)
}

pub(crate) fn serialize<T: TextId, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(id))
}
